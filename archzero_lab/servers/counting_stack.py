"""Servers to count on: a PostgreSQL and a Redis of their own, everything pinned that a machine would decide.

What a request makes them do is then the same on any machine; what it takes is another question, and not asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from archzero_lab.errors import SettingsError
from archzero_lab.postgres.connection import Connection
from archzero_lab.servers.counted_redis import CountedRedis, counted_redis
from archzero_lab.servers.postgres_server import start_postgres
from archzero_lab.servers.redis_server import start_redis
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.stack import Stack, programs_of, redis_program, registry
from archzero_lab.settings import STATE, Settings

PINNED = {
    # by memory and cores otherwise
    "shared_buffers": "256MB",
    "effective_cache_size": "4GB",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # by moments otherwise: who scans already, when somebody tidies up, which page is written first after a checkpoint
    "synchronize_seqscans": "off",
    "autovacuum": "off",
    "checkpoint_timeout": "1d",
    "full_page_writes": "off",
    # by how often a session has run a statement otherwise; the plan for any values is looked at apart
    "plan_cache_mode": "force_custom_plan",
    # every statement, those of triggers and functions too, with the plan that it ran by
    "pg_stat_statements.track": "all",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_parameter_max_length": "0",
    "log_line_prefix": "%v|%x|",
    # nothing here outlives the command
    "fsync": "off",
    "synchronous_commit": "on",
}
_ON_DATABASES = ("max_parallel_workers_per_gather", "jit", "synchronize_seqscans", "plan_cache_mode")
"""What a copied database may bring settings of its own for."""


def pin_database(connection: Connection) -> None:
    """Pin what a copied database brought settings of its own for, for the sessions to come."""
    (name,) = connection.execute("SELECT current_database()").fetchone() or ("",)
    for setting in _ON_DATABASES:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                sql.Identifier(name), sql.Identifier(setting), sql.Literal(PINNED[setting])
            )
        )


@dataclass(frozen=True)
class CountingStack:
    """`stack` leads services to Redis by the counting way; `redis_url` is the straight one. `log` is PostgreSQL's."""

    stack: Stack
    redis: CountedRedis
    redis_url: str
    log: Path


@contextmanager
def counting_stack(settings: Settings) -> Iterator[CountingStack]:
    """Servers to count on, stopped when the block ends. Raises SettingsError where others are named by URL."""
    for name, url in (("ARCHZERO_DATABASE_URL", settings.database_url), ("ARCHZERO_REDIS_URL", settings.redis_url)):
        if url:
            raise SettingsError(
                f"work is counted on servers of the lab's own, with settings pinned: unset {name};"
                " ARCHZERO_SERVERS=system takes this machine's programs"
            )
    processes, home = registry(), server_home(STATE)
    processes.end_leftovers()
    with ExitStack() as stopping:
        postgres = start_postgres(programs_of(settings), home, processes, name="work-postgres", pinned=PINNED)
        # the log holds every statement: it goes with the server
        stopping.callback(postgres.log.unlink, missing_ok=True)
        stopping.callback(processes.stop, postgres.record)
        redis = start_redis(redis_program(settings), home, processes, name="work-redis")
        stopping.callback(processes.stop, redis.record)
        relay = stopping.enter_context(counted_redis(redis.url))
        stack = Stack(settings, processes, postgres.url, postgres.record.pid, relay.url, redis.record.pid)
        yield CountingStack(stack, relay, redis.url, postgres.log)
