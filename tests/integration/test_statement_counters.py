"""Which statements PostgreSQL's counters are asked for: those that answered requests, not the work beside them."""

from __future__ import annotations

import psycopg
import pytest

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.database_counters import database_counters
from archzero_lab.postgres.request_statements import REQUEST_TAG
from archzero_lab.postgres.statement_log import record_statements
from archzero_lab.systems.arczero.cards.model import CardFilter
from tests.integration.conftest import open_plain


async def test_requests_are_counted_and_what_runs_in_the_background_is_not(database_url: str) -> None:
    with connect(database_url, autocommit=True) as connection:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            before = database_counters(connection)
        except psycopg.Error:
            pytest.skip("this server has no pg_stat_statements loaded")
        connection.execute("DELETE FROM cache_outbox WHERE origin = 'nobody'")
        connection.execute("SELECT count(*) FROM cards")
        assert database_counters(connection).minus(before).statements == 0
        async with open_plain(database_url) as cards:
            for page in range(1, 4):
                await cards.cards(CardFilter(page=page))
        counted = database_counters(connection).minus(before)
        assert counted.statements == 3
        assert counted.execution_s > 0
        assert counted.rows == 3, "each page is one document"
        assert counted.temporary_blocks == 0
        ((text, work),) = counted.by_statement.items()
        assert text.startswith("SELECT")
        assert "/*" not in text
        assert (work.calls, work.rows, work.blocks) == (3, 3, counted.blocks_hit + counted.blocks_read)


async def test_a_write_is_counted_with_what_it_logs(database_url: str) -> None:
    with connect(database_url, autocommit=True) as connection:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            before = database_counters(connection, "")
        except psycopg.Error:
            pytest.skip("this server has no pg_stat_statements loaded")
        connection.execute("UPDATE cards SET quality_score = 1 WHERE id = (SELECT min(id::text)::uuid FROM cards)")
        counted = database_counters(connection, "").minus(before)
        assert counted.wal_bytes is not None
        assert counted.wal_bytes > 50, "a row's new version"
        assert counted.rows >= 1


async def test_a_text_is_fetched_once_and_the_same_numbers_come_of_it(database_url: str) -> None:
    with connect(database_url, autocommit=True) as connection:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        except psycopg.Error:
            pytest.skip("this server has no pg_stat_statements loaded")
        async with open_plain(database_url) as cards:
            await cards.cards(CardFilter(page=1))
            before = database_counters(connection)
            with record_statements() as log:
                again = database_counters(connection)
            assert [sent.shape.count("query") for sent in log.sent] == [1], "numbers alone: queryid, no text"
            assert again == before
        row = connection.execute(
            "SELECT sum(calls)::bigint, sum(shared_blks_hit + shared_blks_read)::bigint FROM pg_stat_statements"
            " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND strpos(query, %s) > 0 AND strpos(query, 'pg_stat_statements') = 0",
            [REQUEST_TAG],
        ).fetchone()
        now = database_counters(connection)
        assert row == (now.statements, now.blocks_hit + now.blocks_read)
