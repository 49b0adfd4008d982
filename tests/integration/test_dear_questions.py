"""One client's dear questions, locks and large rows cost that client, not the others."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import psycopg
import pytest

from archzero_lab.postgres.fair_turns import CLIENT
from archzero_lab.postgres.pool import Database
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import PoolSettings
from archzero_lab.systems.arczero.api.parameters import card_filter
from archzero_lab.systems.arczero.services import RunningService, Serving, start_service
from tests.integration.conftest import open_plain

SIZE = 5


@pytest.fixture(scope="module")
def service(stack: Stack, database_url: str) -> Iterator[RunningService]:
    """Without a cache, of one worker whose pool has five connections."""
    pool = replace(stack.settings.pool, max_size=SIZE, min_size=SIZE)
    small = replace(stack, settings=replace(stack.settings, pool=pool))
    made = start_service(small, Serving("dear", database_url, cached=False))
    yield made
    stack.registry.stop(made.record)


def of_address(service: RunningService, address: str) -> httpx.Client:
    """A client that comes from another address of this machine."""
    return httpx.Client(
        base_url=service.url, timeout=60, transport=httpx.HTTPTransport(local_address=address, limits=httpx.Limits())
    )


def test_writes_behind_a_locked_row_are_refused_and_stop_no_other_client(
    service: RunningService, connection: psycopg.Connection
) -> None:
    with of_address(service, "127.0.0.2") as one, of_address(service, "127.0.0.3") as other:
        ids = [card["id"] for card in other.get("/api/v1/cards?pageSize=20").json()["data"]]
        with connection.transaction(force_rollback=True), ThreadPoolExecutor(4 * SIZE) as crowd:
            connection.execute("SELECT FROM cards WHERE id = %s FOR UPDATE", [ids[0]])
            over = threading.Event()

            def write(_: int) -> list[tuple[int, str | None]]:
                answers = []
                while not over.is_set():
                    answer = one.put(f"/api/v1/cards/{ids[0]}", json={"qualityScore": 3})
                    answers.append((answer.status_code, answer.headers.get("Retry-After")))
                return answers

            writers = [crowd.submit(write, number) for number in range(4 * SIZE)]
            _until_locked(connection)
            read = [other.get(f"/api/v1/cards/{card_id}").status_code for card_id in ids]
            over.set()
            told = {answer for writer in writers for answer in writer.result()}
    assert read == [200] * len(ids)
    assert {status for status, _ in told} == {503}
    assert None not in {after for _, after in told}


def test_statements_of_one_client_leave_a_connection_for_the_next_however_long_they_take(database_url: str) -> None:
    async def run() -> tuple[object, ...] | None:
        limits = PoolSettings(min_size=SIZE, max_size=SIZE, acquire_timeout_s=10.0, statement_timeout_s=60.0)
        database = Database(database_url, limits)
        await database.open()

        async def sleep(client: str, seconds: float) -> tuple[object, ...] | None:
            CLIENT.set(client)
            return await database.row("SELECT 1 FROM pg_sleep(%(seconds)s)", {"seconds": seconds})

        # every connection in use once: none is still being opened
        await asyncio.gather(*[asyncio.create_task(sleep(f"client {number}", 0.1)) for number in range(SIZE)])
        greedy = [asyncio.create_task(sleep("greedy", 40)) for _ in range(SIZE)]
        try:
            await asyncio.sleep(0)
            return await asyncio.create_task(sleep("other", 0))
        finally:
            for task in greedy:
                task.cancel()
            await asyncio.gather(*greedy, return_exceptions=True)
            await database.close()

    assert asyncio.run(run()) == (1,)


def _until_locked(connection: psycopg.Connection, seconds: float = 30.0) -> None:
    """Wait until the crowd has all that it may have."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    deadline = time.monotonic() + seconds
    while (connection.execute(waiting).fetchone() or (0,))[0] < SIZE - 1:
        assert time.monotonic() < deadline, "the writes did not come to wait for the lock"
        time.sleep(0.01)  # polling: PostgreSQL says nothing when a backend begins to wait


def test_a_card_beyond_every_limit_is_cut_on_a_page_and_whole_by_itself(
    database_url: str, connection: psycopg.Connection
) -> None:
    name = f"Huge {uuid.uuid4()}"
    made = connection.execute(
        "INSERT INTO cards (name, type, lifecycle_phase, quality_score, description, attributes, tags, created_at)"
        " VALUES (%s || repeat('n', 3000), 'Risk', 'Active', 1, repeat('long ', 200000),"
        " jsonb_build_object('key', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 10000) g)),"
        " (SELECT jsonb_agg(md5(g::text)) FROM generate_series(1, 2000) g), now() + interval '1 hour') RETURNING id",
        [name],
    ).fetchone()
    assert made is not None

    async def read() -> tuple[bytes, bytes]:
        async with open_plain(database_url) as cards:
            return (await cards.cards(card_filter(q=name))).body, (await cards.card(made[0])).body

    page, alone = asyncio.run(read())
    (listed,) = json.loads(page)["data"]
    whole = json.loads(alone)
    assert len(page) < 10_000
    assert list(listed) == list(whole)
    assert listed["name"].endswith("… [cut: 3041 bytes; read the card]")
    assert listed["description"].endswith("… [cut: 1000000 bytes; read the card]")
    assert "read the card" in listed["attributes"]["cut"]
    assert "read the card" in listed["tags"][0]
    assert (len(whole["description"]), len(whole["tags"])) == (1_000_000, 2_000)
    connection.execute("DELETE FROM cards WHERE id = %s", [made[0]])
