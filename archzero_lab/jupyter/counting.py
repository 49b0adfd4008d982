"""What an arm of one's own makes its PostgreSQL and Redis do, as totals that only grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg
import redis

from archzero_lab.errors import DatabaseError, SettingsError, mask_secrets
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.database_counters import DatabaseCounters, database_counters
from archzero_lab.postgres.statement_work import StatementWork

Totals = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class OpenTotals:
    """Totals of a database and a Redis, those of the database by statement too, and what closes their connections."""

    totals: Totals
    statements: Callable[[], Mapping[str, StatementWork]]
    close: Callable[[], None]


def open_totals(name: str, database: str, redis_url: str) -> OpenTotals:
    """Totals of a database and a Redis ("": none); both are only read.

    PostgreSQL's are those of all roles in that database. Raises DatabaseError where it counts no statements,
    SettingsError where Redis does not answer.
    """
    with ExitStack() as opened:
        parts: list[Totals] = []
        statements: Callable[[], Mapping[str, StatementWork]] = dict
        if database:
            connection = opened.enter_context(connect(database, autocommit=True))
            connection.execute("SET default_transaction_read_only = on")
            parts.append(lambda: _of_database(name, connection))

            def statements() -> Mapping[str, StatementWork]:
                return _counted(name, connection).by_statement

        if redis_url:
            client = opened.enter_context(redis.Redis.from_url(redis_url, socket_timeout=10, decode_responses=True))
            questions = 0

            def of_redis() -> Mapping[str, float]:
                nonlocal questions
                questions += 1
                try:
                    info = client.info("stats")
                except redis.RedisError as error:
                    raise SettingsError(f"{name}: {mask_secrets(redis_url)} does not answer: {error}") from None
                assert isinstance(info, dict)
                # our own question is a command too
                return {"Redis commands": info["total_commands_processed"] - questions,
                        "Redis hits": info["keyspace_hits"], "Redis misses": info["keyspace_misses"]}  # fmt: skip

            parts.append(of_redis)
        for part in parts:
            part()  # whatever cannot be counted is said before anything is measured
        close = opened.pop_all().close
    return OpenTotals(lambda: {key: value for part in parts for key, value in part().items()}, statements, close)


def _counted(name: str, connection: psycopg.Connection) -> DatabaseCounters:
    try:
        return database_counters(connection, "")
    except psycopg.Error as error:
        raise DatabaseError(
            f"{name}: its database counts no statements ({error.diag.message_primary or error}); add"
            " pg_stat_statements to shared_preload_libraries, and CREATE EXTENSION pg_stat_statements"
        ) from None


def _of_database(name: str, connection: psycopg.Connection) -> Mapping[str, float]:
    counters = _counted(name, connection)
    wal = {} if counters.wal_bytes is None else {"WAL bytes": counters.wal_bytes}
    return {"statements": counters.statements, "rows": counters.rows,
            "blocks": counters.blocks_hit + counters.blocks_read,
            "temporary blocks": counters.temporary_blocks, **wal}  # fmt: skip
