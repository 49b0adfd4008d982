"""Processes that are surely ended, databases that are surely ours, loads that leave nothing half done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from archzero_lab.errors import DatabaseError, ServerError
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.servers.process import ProcessRegistry, is_alive, start_ticks
from archzero_lab.servers.redis_server import start_redis
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import ROOT
from archzero_lab.systems.arczero.cards.generator import GeneratedPortfolio
from archzero_lab.systems.arczero.cards.loading import load_portfolio

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_process_is_recorded_and_ended_with_its_children(tmp_path: Path) -> None:
    registry = ProcessRegistry(tmp_path / "run")
    child = f"import subprocess, time; subprocess.Popen({SLEEP!r}); time.sleep(600)"
    record = registry.spawn("x", [sys.executable, "-c", child], log=tmp_path / "log")
    assert registry.records() == [record]
    while not (children := Path(f"/proc/{record.pid}/task/{record.pid}/children").read_text().split()):
        os.sched_yield()
    registry.stop(record)
    assert not is_alive(record)
    assert registry.records() == []
    assert start_ticks(int(children[0])) is None


def test_a_process_that_ignores_its_signal_is_killed(tmp_path: Path) -> None:
    registry = ProcessRegistry(tmp_path / "run")
    ready = tmp_path / "ready"
    program = (
        "import signal, time, pathlib; signal.signal(15, signal.SIG_IGN); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
    )
    record = registry.spawn("x", [sys.executable, "-c", program], log=tmp_path / "log")
    while not ready.exists():
        os.sched_yield()
    registry.stop(record, grace_s=0.2)
    assert not is_alive(record)


def test_what_a_killed_run_left_is_ended_and_what_is_kept_or_owned_is_not(tmp_path: Path) -> None:
    # the first run starts two processes, without the kernel's help (as `kept` ones are), and is killed
    run = (
        "import sys; from pathlib import Path; from archzero_lab.servers.process import ProcessRegistry\n"
        f"registry, log = ProcessRegistry(Path({str(tmp_path / 'run')!r})), Path({str(tmp_path / 'log')!r})\n"
        f"for name in ('left', 'kept'):\n    registry.spawn(name, {SLEEP!r}, log=log, kept=True)\n"
        "import os; os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", run], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL
    registry = ProcessRegistry(tmp_path / "run")
    left, kept = sorted(registry.records(), key=lambda record: record.name == "kept")
    path = registry.folder / f"left.{left.pid}.json"
    path.write_text(path.read_text().replace('"kept": true', '"kept": false'))
    mine = registry.spawn("mine", SLEEP, log=tmp_path / "log")
    assert [record.name for record in registry.end_leftovers()] == ["left"]
    assert [is_alive(record) for record in (left, kept, mine)] == [False, True, True]
    for record in (kept, mine):
        registry.stop(record)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_a_process_is_forked_is_not_lost(tmp_path: Path, number: signal.Signals) -> None:
    # the signal comes in a hook of the fork's, where CPython only prints what is raised
    run = (
        "import os, signal, sys; from pathlib import Path\n"
        "from archzero_lab.servers.process import ProcessRegistry, is_alive\n"
        f"number = signal.{number.name}\n"
        "def interrupt(*_): raise KeyboardInterrupt\n"
        "signal.signal(number, interrupt)\n"
        "os.register_at_fork(after_in_parent=lambda: (os.write(1, b'forked '), signal.raise_signal(number)))\n"
        f"registry = ProcessRegistry(Path({str(tmp_path / 'run')!r}))\n"
        "try:\n"
        f"    registry.spawn('x', {SLEEP!r}, log=Path({str(tmp_path / 'log')!r}))\n"
        "except KeyboardInterrupt:\n"
        "    [record] = registry.records()\n"
        "    print('interrupted', is_alive(record), signal.getsignal(number) is interrupt)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", run], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("forked interrupted True True\n", "")


def test_a_server_that_does_not_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    registry = ProcessRegistry(tmp_path / "run")
    with pytest.raises(ServerError, match="cannot start redis"):
        start_redis(tmp_path / "nothing", tmp_path, registry)
    assert registry.records() == []
    with pytest.raises(ServerError, match="Redis did not start"):
        start_redis(Path("/bin/false"), tmp_path, registry)
    assert registry.records() == []


def test_no_database_but_ours_is_created_or_dropped(stack: Stack) -> None:
    for act in (create_database, drop_database):
        with pytest.raises(DatabaseError, match="touches only its own databases"):
            act(stack.postgres_url, "production")


def test_a_load_that_breaks_a_constraint_leaves_the_database_empty(make_database: Callable[..., str]) -> None:
    class Doubled(GeneratedPortfolio):
        def card_chunks(self):  # type: ignore[no-untyped-def]
            yield from super().card_chunks()
            yield from super().card_chunks()

    class Wrong(GeneratedPortfolio):
        def card_chunks(self):  # type: ignore[no-untyped-def]
            yield b"not a row\n"

    url = make_database("broken", empty=True)
    for portfolio in (Doubled(1, 100), Wrong(1, 100)):
        with connect(url) as connection, pytest.raises(DatabaseError):
            load_portfolio(connection, portfolio)
        with connect(url) as connection:
            tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
            assert tables == (0,)


def test_a_loaded_portfolio_is_whole_and_analyzed(make_database: Callable[..., str]) -> None:
    url = make_database("whole", empty=True)
    told: list[float] = []
    with connect(url) as connection:
        counts = load_portfolio(connection, GeneratedPortfolio(2, 500), told.append)
    assert counts == (500, 1000)
    assert told[-1] == 1.0
    assert told == sorted(told)
    with connect(url) as connection:
        assert connection.execute("SELECT count(DISTINCT (type, name)) FROM cards").fetchone() == (500,)
        never = "SELECT count(*) FROM pg_stat_user_tables WHERE last_analyze IS NULL AND relname <> 'bia_profiles'"
        assert connection.execute(never).fetchone() == (0,)


def test_an_exhausted_pool_is_a_503_soon_and_not_a_hang(stack: Stack, make_database: Callable[[str], str]) -> None:
    from dataclasses import replace

    import httpx

    from archzero_lab.settings import PoolSettings
    from archzero_lab.systems.arczero.services import Serving, start_service

    url = make_database("pool")
    pool = PoolSettings(min_size=1, max_size=1, acquire_timeout_s=2.0, lock_timeout_s=60.0, statement_timeout_s=60.0)
    small = replace(stack, settings=replace(stack.settings, pool=pool))
    service = start_service(small, Serving("control", url, cached=False))
    with psycopg.connect(url) as holder, httpx.Client(base_url=service.url, timeout=20) as client:
        card = str(holder.execute("SELECT id FROM cards LIMIT 1").fetchone()[0])  # type: ignore[index]
        holder.execute("SELECT FROM cards WHERE id = %s FOR UPDATE", [card])
        import threading

        writer = threading.Thread(
            target=client.put, args=(f"/api/v1/cards/{card}",), kwargs={"json": {"qualityScore": 1}}
        )
        writer.start()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        with psycopg.connect(url, autocommit=True) as watcher:
            while watcher.execute(waiting).fetchone() != (1,):
                assert writer.is_alive()
        answer = httpx.get(f"{service.url}/api/v1/cards/{uuid.uuid4()}", timeout=20)
        holder.rollback()
        writer.join()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["code"] == "unavailable"
    stack.registry.stop(service.record)
