"""The outbox's own connection behind a network that swallowed a statement: what changes is heard of again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from archzero_lab.servers.hurt import Relay
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache import invalidation
from archzero_lab.systems.arczero.cache.invalidation import Outbox
from tests.integration.conftest import CALM, new_card, open_cached, score_of, until

OUTBOX = "SELECT extract(epoch FROM clock_timestamp() - max(query_start)) FROM pg_stat_activity WHERE {}".format(
    "application_name = 'archzero-lab outbox' AND query NOT LIKE 'LISTEN%%' AND datname = current_database()"
)
PERIODS_S = 1.5
"""Six periods in which a living outbox would have asked."""


@pytest.fixture
def relay(stack: Stack) -> Iterator[Relay]:
    found = Relay(stack, stack.postgres_url, "outbox")
    yield found
    found.close()


async def test_changes_are_heard_of_again_after_a_statement_of_the_outbox_was_never_answered(
    stack: Stack, relay: Relay, database_url: str, connection: psycopg.Connection
) -> None:
    async with open_cached(relay.through(database_url), stack.redis_url) as cached:
        card_id = await new_card(cached)
        assert await score_of(cached, card_id) == 1

        async def waits_for_ever() -> bool:
            row = connection.execute(OUTBOX.encode()).fetchone()
            return row is not None and row[0] is not None and row[0] > PERIODS_S

        relay.set(swallow=True)
        try:
            await until(waits_for_ever, 20)
        finally:
            relay.set()
        connection.execute("UPDATE cards SET quality_score = 2 WHERE id = %s", [card_id])

        async def seen() -> bool:
            return await score_of(cached, card_id) == 2

        await until(seen, 30)


async def test_a_connection_that_is_dropped_while_somebody_uses_it_is_ended_by_him_and_another_is_made(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed under him, libpq reads what has been freed: the process dies now and then."""
    monkeypatch.setattr(invalidation, "_STATEMENT_S", 60.0)
    outbox = Outbox(database_url, None, None, CALM)  # type: ignore[arg-type]  # neither is asked here
    assert await outbox._execute("SELECT 1") == [(1,)]
    connection = outbox._connection
    assert connection is not None
    using = asyncio.ensure_future(outbox._execute("SELECT pg_sleep(8)"))

    async def waits() -> bool:
        return connection.pgconn.transaction_status == TransactionStatus.ACTIVE

    await until(waits, 30)
    await outbox._drop_connection()
    assert not connection.closed, "that is for who uses it"
    with pytest.raises(psycopg.OperationalError):
        await using
    assert connection.closed
    assert await outbox._execute("SELECT 2") == [(2,)]
    await outbox.close()
