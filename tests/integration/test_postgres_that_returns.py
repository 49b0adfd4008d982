"""A PostgreSQL that ended its sessions, or was restarted: what of the pool is dead goes at once, and reads go on."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg_pool import PoolClosed

from archzero_lab.postgres import pool as pools
from archzero_lab.postgres.databases import service_url
from archzero_lab.postgres.pool import Database
from archzero_lab.servers.hurt import HurtPostgres, Relay
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import PoolSettings
from tests.integration.conftest import until

SIZE = 10
END_ALL = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = %s"


@asynccontextmanager
async def opened(
    url: str, *, check: bool, name: str = "ended", acquire_timeout_s: float = 30.0
) -> AsyncIterator[Database]:
    settings = PoolSettings(min_size=SIZE, max_size=SIZE, check_before_use=check, acquire_timeout_s=acquire_timeout_s)
    database = Database(url, settings, application_name=name)
    try:
        await database.open()
        # every connection in use once: none is still being opened
        await asyncio.gather(*[database.row("SELECT pg_sleep(0.05)") for _ in range(3 * SIZE)])
        yield database
    finally:
        await database.close()


@pytest.mark.parametrize("check", [True, False])
async def test_no_write_fails_for_sessions_that_were_ended_while_idle(
    make_database: Callable[[str], str], check: bool
) -> None:
    url = make_database("ended")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("DROP TABLE IF EXISTS written; CREATE TABLE written (n int)")
        async with opened(url, check=check) as database:
            ended = await asyncio.to_thread(lambda: admin.execute(END_ALL, ["ended"]).fetchall())
            assert ended == [(True,)] * SIZE
            began = time.monotonic()
            await asyncio.gather(
                *[database.row("INSERT INTO written VALUES (%(n)s)", {"n": number}) for number in range(2 * SIZE)]
            )
            # one after the other, with the pool's pauses, they took 14 s and more
            assert time.monotonic() - began < 10
        assert admin.execute("SELECT count(*), count(DISTINCT n) FROM written").fetchone() == (2 * SIZE, 2 * SIZE)


async def test_a_read_that_its_session_died_under_is_run_again_and_a_write_is_not(
    stack: Stack, make_database: Callable[[str], str]
) -> None:
    url = make_database("under_way")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE TABLE written (n int)")

        def end_when_running(statements: int) -> None:
            deadline = time.monotonic() + 30
            running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ended' AND query LIKE '%sleep%'"
            while admin.execute(running + " AND state = 'active'").fetchone() != (statements,):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            admin.execute(END_ALL, ["ended"])

        async with opened(url, check=False) as database:
            reads = [asyncio.create_task(database.row("SELECT 1 FROM pg_sleep(2)")) for _ in range(3)]
            await asyncio.to_thread(end_when_running, 3)
            assert await asyncio.gather(*reads) == [(1,)] * 3
            # long enough that it is still running when it is ended, on any machine
            write = asyncio.create_task(database.row("INSERT INTO written SELECT 1 FROM pg_sleep(25)"))
            await asyncio.to_thread(end_when_running, 1)
            with pytest.raises(psycopg.OperationalError):
                await write
        assert admin.execute("SELECT count(*) FROM written").fetchone() == (0,)


async def test_who_gives_up_while_its_connection_is_looked_at_takes_none_with_him(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_database("given_up")
    async with opened(url, check=True) as database:
        looked = asyncio.Event()

        async def slowly(connection: object) -> None:
            looked.set()
            await asyncio.sleep(60)

        with monkeypatch.context() as patched:
            patched.setattr(pools.AsyncConnectionPool, "check_connection", staticmethod(slowly))
            for _ in range(2 * SIZE):
                looked.clear()
                asking = asyncio.create_task(database.row("SELECT 1"))
                await asyncio.wait_for(looked.wait(), 30)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
        answers = asyncio.gather(*[database.row("SELECT 1 FROM pg_sleep(0.05)") for _ in range(SIZE)])
        assert await asyncio.wait_for(answers, 30) == [(1,)] * SIZE


async def test_a_restart_is_waited_for_and_all_connections_are_new_ones(stack: Stack) -> None:
    postgres = await asyncio.to_thread(HurtPostgres, stack)
    try:
        async with opened(postgres.server.url, check=True) as database:
            await asyncio.to_thread(postgres.stop)
            starting = asyncio.create_task(asyncio.to_thread(postgres.start))
            answers: list[object] = []
            while not starting.done() or answers[-1:] != [(1,)]:
                began = time.monotonic()
                try:
                    answers.append(await database.row("SELECT 1"))
                except PoolClosed:
                    answers.append(None)
                # a second of patience for a connection, once more for a read that is run again; and a busy machine
                assert time.monotonic() - began < 10
            await starting
            assert await asyncio.gather(*[database.row("SELECT 1 FROM pg_sleep(0.05)") for _ in range(SIZE)]) == (
                [(1,)] * SIZE
            )
    finally:
        await asyncio.to_thread(postgres.close)


async def test_who_asks_of_a_server_that_has_long_been_away_does_not_wait(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_PATIENCE_S", 5.0)
    postgres = await asyncio.to_thread(HurtPostgres, stack)
    try:
        async with opened(postgres.server.url, check=True) as database:
            await asyncio.to_thread(postgres.stop)
            began = time.monotonic()
            with pytest.raises(PoolClosed):
                await database.row("SELECT 1")
            assert time.monotonic() - began >= 5.0, "it might have come back"
            began = time.monotonic()
            for _ in range(20):
                with pytest.raises(PoolClosed):
                    await database.row("SELECT 1")
            assert time.monotonic() - began < 5.0
    finally:
        await asyncio.to_thread(postgres.close)


async def test_a_server_that_has_no_slot_and_no_session_of_ours_is_away_and_one_with_some_is_busy(
    stack: Stack, make_database: Callable[[str], str]
) -> None:
    url = service_url(make_database("slots"))
    name = url.rpartition("/")[2].partition("?")[0]
    limit = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format
    async with opened(url, check=True, acquire_timeout_s=60.0) as database:
        assert await database.row("SELECT 1") == (1,)
        async with await psycopg.AsyncConnection.connect(stack.postgres_url, autocommit=True) as admin:
            await admin.execute(limit(sql.Identifier(name), sql.Literal(0)))
            assert await database.row("SELECT 1") == (1,), "what sessions there are go on"
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            began = time.monotonic()
            with pytest.raises(PoolClosed):
                await database.row("SELECT 1")
            assert time.monotonic() - began < 30, "it would have been a minute"
            await admin.execute(limit(sql.Identifier(name), sql.Literal(-1)))
        answer = None
        while answer is None:
            await asyncio.sleep(0.05)  # polling: who is refused is refused at once
            with suppress(PoolClosed):
                answer = await database.row("SELECT 1")
        assert answer == (1,)


async def test_a_server_that_says_nothing_any_more_is_given_up(stack: Stack) -> None:
    relay = await asyncio.to_thread(Relay, stack, stack.postgres_url, "silent")
    settings = PoolSettings(min_size=1, max_size=2, acquire_timeout_s=4.0, statement_timeout_s=0.5)
    database = Database(relay.url, settings)
    try:
        await database.open()
        assert await database.row("SELECT 1") == (1,)
        relay.set(swallow=True)
        for _ in range(3):  # in the check before use, in a statement, in an attempt to connect
            with pytest.raises(psycopg.OperationalError):
                await asyncio.wait_for(database.row("SELECT 1"), 60)
        relay.set(swallow=False)
        async with asyncio.timeout(60):
            while True:
                with suppress(psycopg.OperationalError):
                    assert await database.row("SELECT 1") == (1,)
                    break
                await asyncio.sleep(0.05)  # polling until the pool is new
    finally:
        await database.close()
        relay.close()


async def test_a_statement_under_which_the_network_went_silent_ends(stack: Stack) -> None:
    relay = await asyncio.to_thread(Relay, stack, stack.postgres_url, "silent")
    settings = PoolSettings(min_size=1, max_size=2, check_before_use=False, statement_timeout_s=0.5)
    database = Database(relay.url, settings)
    try:
        await database.open()
        assert await database.row("SELECT 1") == (1,)
        relay.set(swallow=True)
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(database.row("SELECT 1"), 60)
    finally:
        await database.close()
        relay.close()


def _sockets_to(port: int) -> int:
    own = psutil.Process().net_connections()
    return sum(1 for one in own if one.raddr and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED)


async def test_attempts_to_connect_that_were_never_answered_leave_no_socket_behind(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("psycopg", "psycopg.pool"):  # pytest keeps what is logged, and with it the errors' frames
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)
    relay = await asyncio.to_thread(Relay, stack, stack.postgres_url, "silent")
    port = urlsplit(relay.url).port
    assert port is not None
    settings = PoolSettings(min_size=1, max_size=2, acquire_timeout_s=4.0, statement_timeout_s=0.5)
    database = Database(relay.url, settings)

    async def alone() -> bool:
        return _sockets_to(port) == 1 and database._returning is None  # the pool's own connection

    gc.disable()  # by chance it would tidy up here, as it seldom does in a service
    try:
        await database.open()
        assert await database.row("SELECT 1") == (1,)
        relay.set(swallow=True)
        async with asyncio.timeout(60):
            while database._returning is None:  # an attempt has timed out, and another has begun
                with suppress(psycopg.OperationalError):
                    await database.row("SELECT 1")
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            relay.set(swallow=False)
            await until(alone, 60)
    finally:
        gc.enable()
        await database.close()
        relay.close()


def test_whoever_falls_silent_within_a_transaction_loses_its_locks(stack: Stack) -> None:
    settings = PoolSettings(statement_timeout_s=0.1)
    with (
        psycopg.connect(stack.postgres_url, **Database(stack.postgres_url, settings)._kwargs | {"autocommit": False})
        as silent,
        psycopg.connect(stack.postgres_url, options="-c lock_timeout=60s") as other,
    ):  # fmt: skip
        silent.execute("SELECT pg_advisory_xact_lock(2177)")
        other.execute("SELECT pg_advisory_xact_lock(2177)")  # raises LockNotAvailable where it is never let go
        silent.close()
