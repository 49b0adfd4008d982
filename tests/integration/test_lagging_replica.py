"""What a program reads from a lagging replica too early is named by its line; nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from archzero_lab.errors import LabError
from archzero_lab.jobs.replicas import run as run_of
from archzero_lab.jobs.replicas.run import Asked, Lagged, run_lagged
from archzero_lab.servers.replicas import Lag
from archzero_lab.servers.stack import Stack, redis_program

APP = Path(__file__).with_name("lagging_app.py")
TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int, status text, total int);
CREATE TABLE coupons (code text PRIMARY KEY);
CREATE TABLE countries (name text);
INSERT INTO customers VALUES (1, 'Ada'), (2, 'Barbara');
INSERT INTO orders (customer, status, total) SELECT 1 + g % 2, 'old', g FROM generate_series(1, 5) g;
INSERT INTO coupons VALUES ('FIVE');
INSERT INTO countries VALUES ('Austria'), ('Brazil');
"""


def run(stack: Stack, folder: Path, *arguments: str, lag: Lag, number: int = 1, redis: str = "") -> Lagged:
    file = folder / "tables.sql"
    file.write_text(TABLES)
    asked = Asked([sys.executable, str(APP), *arguments], lag, number, file, redis=redis)
    return run_lagged(stack.postgres_programs, redis_program(stack.settings), stack.registry, asked)


def test_twenty_planted_faults_are_found_each_at_its_line_and_nothing_beside(stack: Stack, tmp_path: Path) -> None:
    found = run(stack, tmp_path, lag=Lag(paused=True), redis="REDIS_URL")
    assert found.code == 0
    planted = {
        f"{APP}:{number}" for number, line in enumerate(APP.read_text().splitlines(), 1) if line.endswith("# planted")
    }
    assert len(planted) == 20
    places = found.places()
    assert {place.line for place in places} == planted
    assert all(place.own == len(place.reads) for place in places)
    causes = {place.line: place.reads[-1].cause for place in places}
    assert all(cause is not None and cause.pid for cause in causes.values())
    filled = {place.statement: place.fills for place in places if place.fills}
    assert filled == {"SELECT name FROM customers WHERE id = 1": ["customer:1"]}
    assert (found.seen.undecided, found.seen.not_compared) == ({}, 0)


def test_nothing_is_found_where_both_urls_are_the_primarys(stack: Stack, tmp_path: Path) -> None:
    found = run(stack, tmp_path, lag=Lag(), number=0)
    assert found.seen.reads > 20
    assert found.places() == []


def test_who_waits_for_the_replica_or_asks_the_primary_reads_nothing_stale(stack: Stack, tmp_path: Path) -> None:
    found = run(stack, tmp_path, "right", lag=Lag(ms=500))
    assert (found.code, found.places()) == (0, [])
    assert found.seen.reads >= 3


def test_what_the_command_says_is_its_own_exit_code_and_a_wrong_file_is_named(stack: Stack, tmp_path: Path) -> None:
    failing = Asked([sys.executable, "-c", "raise SystemExit(7)"], Lag())
    assert run_lagged(stack.postgres_programs, None, stack.registry, failing).code == 7
    file = tmp_path / "wrong.sql"
    file.write_text("CREATE TABEL x ();")
    with pytest.raises(LabError, match=r"wrong\.sql: .*syntax error"):
        run_lagged(stack.postgres_programs, None, stack.registry, Asked(["true"], Lag(), load=file))
    with pytest.raises(LabError, match="cannot start no-such-program"):
        run_lagged(stack.postgres_programs, None, stack.registry, Asked(["no-such-program"], Lag()))


SERVED = """
import asyncio, os, psycopg
writer = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)

def wsgi(environ, start_response):
    with psycopg.connect(os.environ["REPLICA_URL"]) as reader:
        return reader.execute("SELECT count(*) FROM countries").fetchone()

async def asgi(scope, receive, send):
    async with await psycopg.AsyncConnection.connect(os.environ["REPLICA_URL"]) as reader:
        await reader.execute("SELECT name FROM countries WHERE name LIKE 'Ch%%' AND name <> %s", ["China"])

writer.execute("INSERT INTO countries VALUES ('Chile')")
wsgi({"PATH_INFO": "/countries/count"}, None)
asyncio.run(asgi({"type": "http", "path": "/countries"}, None, None))
"""


def test_a_stale_read_names_the_path_that_was_being_answered(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "tables.sql"
    file.write_text(TABLES)
    asked = Asked([sys.executable, "-c", SERVED], Lag(paused=True), load=file)
    found = run_lagged(stack.postgres_programs, None, stack.registry, asked)
    assert found.code == 0
    assert {place.endpoint for place in found.places()} == {"/countries", "/countries/count"}


def test_who_is_interrupted_ends_the_command_whatever_it_ignores_and_tells_what_was_seen(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_of, "_HEARD_S", 0.5)
    deaf = "import signal, time; signal.signal(2, signal.SIG_IGN); signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    interrupting = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    original = subprocess.Popen

    def started(*given: Any, **options: Any) -> Any:
        if deaf in given[0]:
            interrupting.start()
        return original(*given, **options)

    monkeypatch.setattr(run_of.subprocess, "Popen", started)
    found = run_lagged(stack.postgres_programs, None, stack.registry, Asked([sys.executable, "-c", deaf], Lag()))
    assert found.code == -signal.SIGKILL
