"""A stampede: 500 concurrent misses of one key over four processes are one load; a dead loader delays by its lease."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import redis.asyncio

from archzero_lab.servers.stack import Stack
from archzero_lab.settings import ROOT, CacheSettings
from archzero_lab.systems.arczero.cache.keys import Key
from archzero_lab.systems.arczero.cache.store import Lease
from archzero_lab.systems.arczero.cards.model import CardFilter
from archzero_lab.systems.arczero.service_config import ServiceConfig
from tests.integration.conftest import PATIENT_POOL, open_cached, until

PROCESSES = 4
CALLERS = 125
PROGRAM = """
import asyncio, json, sys, time
from pathlib import Path
from archzero_lab.systems.arczero.consistency.open_cards import open_cards
from archzero_lab.systems.arczero.cards.model import CardFilter

async def run(job):
    async with open_cards(job) as cards:
        question = CardFilter(q=job["word"])
        Path(job["ready"]).touch()
        while not Path(job["go"]).exists():
            await asyncio.sleep(0.001)
        began = time.monotonic()
        documents = await asyncio.gather(*(cards.cards(question) for _ in range(job["callers"])))
        Path(job["out"]).write_text(json.dumps([len({d.etag for d in documents}), time.monotonic() - began]))

asyncio.run(run(json.loads(sys.argv[1])))
"""


def _start(
    stack: Stack, database_url: str, folder: Path, number: int, namespace: str, **more: Any
) -> subprocess.Popen[bytes]:
    # heartbeats are commands too, and a process that is held up for a moment is to go on believing Redis
    settings = CacheSettings(
        timeout_s=5.0, near_bytes=0, lease_s=more.pop("lease_s", 5.0), heartbeat_s=30.0, licence_s=120.0
    )
    config = ServiceConfig(database_url, stack.redis_url, namespace, cache=settings, pool=PATIENT_POOL)
    job = {
        "service": config.encode(),
        "without": [],
        "word": "platform",
        "callers": CALLERS,
        "ready": str(folder / f"ready-{number}"),
        "go": str(folder / f"go-{more.pop('go', 0)}"),
        "out": str(folder / f"out-{number}"),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(job)], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def _wait_for(paths: list[Path]) -> None:
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.005)  # other processes: nothing else tells


def _commands(client: redis.Redis) -> int:
    stats = client.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("mget", "evalsha", "eval"))


def _loads(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements WHERE query LIKE '%count(*) FROM cards c%'"
        " AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_500_misses_over_four_processes_are_one_load_and_few_commands(
    stack: Stack, database_url: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    namespace = f"stampede:{uuid.uuid4().hex}"
    processes = [_start(stack, database_url, tmp_path, number, namespace) for number in range(PROCESSES)]
    _wait_for([tmp_path / f"ready-{number}" for number in range(PROCESSES)])
    client = redis.Redis.from_url(stack.redis_url)
    loads, commands = _loads(connection), _commands(client)
    (tmp_path / "go-0").touch()
    for process in processes:
        assert process.wait(60) == 0
    told = [json.loads((tmp_path / f"out-{number}").read_text()) for number in range(PROCESSES)]
    assert all(versions == 1 for versions, _ in told)
    assert _loads(connection) - loads == 1
    assert _commands(client) - commands <= 50


def test_a_loader_that_is_killed_delays_the_others_by_its_lease_at_most(
    stack: Stack, database_url: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    namespace = f"stampede:{uuid.uuid4().hex}"
    lease_s = 5.0
    loader = _start(stack, database_url, tmp_path, 0, namespace, lease_s=lease_s)
    others = [_start(stack, database_url, tmp_path, number, namespace, lease_s=lease_s, go=1) for number in (1, 2)]
    _wait_for([tmp_path / f"ready-{number}" for number in range(3)])
    # the table is locked, so that the loader is surely in the middle of its load when it is killed
    with psycopg.connect(connection.info.dsn, password=connection.info.password) as locker:
        locker.execute("LOCK TABLE cards IN ACCESS EXCLUSIVE MODE")
        (tmp_path / "go-0").touch()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while connection.execute(waiting).fetchone() != (1,):
            assert loader.poll() is None
        loader.send_signal(signal.SIGKILL)
        loader.wait()
        locker.rollback()
    (tmp_path / "go-1").touch()
    for process in others:
        assert process.wait(60) == 0
    for number in (1, 2):
        versions, seconds = json.loads((tmp_path / f"out-{number}").read_text())
        assert versions == 1
        # the lease, a pause between two looks at it, and the load itself on a busy machine; not one lease after another
        assert seconds < 2 * lease_s


async def test_who_waits_for_a_load_does_not_wait_for_the_next_ones_too(stack: Stack, database_url: str) -> None:
    client = redis.asyncio.Redis.from_url(stack.redis_url)
    settings = CacheSettings(timeout_s=5.0, near_bytes=0, lease_s=60.0)
    async with open_cached(database_url, stack.redis_url, settings) as cached, client:
        question = CardFilter(q=uuid.uuid4().hex)
        key = cached.keys.cards(question)
        first = await cached.store.lease(key)
        assert first is not None
        assert first.state == "granted"
        told: list[str] = []
        lease = cached.store.lease

        async def noted(key: Key, sent: Callable[[], None]) -> Lease | None:
            answer = await lease(key, sent)
            told.append("" if answer is None else answer.state)
            return answer

        cached.store.lease = noted  # type: ignore[method-assign]  # to see that it waits
        reader = asyncio.create_task(cached.cards.cards(question))
        await until(_says(lambda: told[-1:] == ["busy"]))
        # in one step, as a third one's would be that came between two looks
        await client.set(key.slot, "L" + "0" * 16 + first.generation, px=60_000)
        async with asyncio.timeout(30):
            assert json.loads((await reader).body)["total"] == 0


@pytest.mark.parametrize("unheard", ["lease", "fill", "release"])
async def test_a_lease_of_which_nobody_hears_is_given_back(stack: Stack, database_url: str, unheard: str) -> None:
    settings = CacheSettings(timeout_s=5.0, near_bytes=0, lease_s=60.0)
    async with open_cached(database_url, stack.redis_url, settings) as cached:
        question = CardFilter(q=uuid.uuid4().hex)
        key = cached.keys.cards(question)
        script = getattr(cached.store._scripts, unheard)
        times = 0

        async def lost(**arguments: Any) -> Any:
            nonlocal times
            times += 1
            answer = await script(**arguments) if unheard == "lease" else None
            if times == 1:
                raise TimeoutError
            return answer if unheard == "lease" else await script(**arguments)

        setattr(cached.store._scripts, unheard, lost)
        if unheard == "release":
            lease = await cached.store.lease(key)
            assert lease is not None
            await cached.store.release(key, lease)
        else:
            assert json.loads((await cached.cards.cards(question)).body)["total"] == 0
        assert times == 1

        async def is_free() -> bool:
            found = await cached.store.lease(key)
            return found is not None and found.state != "busy"

        await until(is_free, 30)


def _says(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def said() -> bool:
        return condition()

    return said
