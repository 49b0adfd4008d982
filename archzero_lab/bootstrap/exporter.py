"""What PostgreSQL and Redis tell of themselves, as Prometheus reads it: python -m archzero_lab.bootstrap.exporter PORT.

Names are those of postgres_exporter and redis_exporter where they fit, so that dashboards for those show something.
The servers' URLs come in the environment: a command line is everybody's to read.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, LiteralString

import psycopg
import redis
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

POSTGRES, REDIS = "ARCHZERO_EXPORTED_POSTGRES", "ARCHZERO_EXPORTED_REDIS"
_LIMIT_MS = 2_000
_COUNTS = ("xact_commit", "xact_rollback", "blks_hit", "blks_read", "tup_returned", "tup_fetched", "tup_inserted",
           "tup_updated", "tup_deleted", "temp_bytes", "deadlocks")  # fmt: skip
_OF_DATABASES: LiteralString = (
    "SELECT datname, pg_database_size(datid), numbackends, " + ", ".join(_COUNTS) + " FROM pg_stat_database"
    " WHERE datname IS NOT NULL AND datname NOT LIKE 'template%'"
)
_OF_ACTIVITY: LiteralString = (
    "SELECT datname, coalesce(state, 'none'), count(*) FROM pg_stat_activity WHERE datname IS NOT NULL GROUP BY 1, 2"
)
_OF_REPLICATION: LiteralString = (
    "SELECT coalesce(slot_name, application_name), (pg_current_wal_lsn() - replay_lsn)::bigint"
    " FROM pg_stat_replication LEFT JOIN pg_replication_slots ON active_pid = pid WHERE NOT pg_is_in_recovery()"
)
_OF_OUTBOX: LiteralString = "SELECT count(*) FROM (SELECT FROM cache_outbox LIMIT 100000) rows"
_REDIS_COUNTERS = {
    "redis_keyspace_hits_total": "keyspace_hits", "redis_keyspace_misses_total": "keyspace_misses",
    "redis_evicted_keys_total": "evicted_keys", "redis_expired_keys_total": "expired_keys",
    "redis_commands_processed_total": "total_commands_processed",
}  # fmt: skip
_REDIS_GAUGES = {
    "redis_connected_clients": "connected_clients", "redis_memory_used_bytes": "used_memory",
    "redis_memory_max_bytes": "maxmemory", "redis_uptime_in_seconds": "uptime_in_seconds",
}  # fmt: skip


class Servers(Collector):
    """Asks both servers at each scrape; one that is away is told by pg_up or redis_up, and costs the other nothing."""

    def __init__(self, postgres_url: str, redis_url: str) -> None:
        self._postgres_url, self._redis_url = postgres_url, redis_url

    def collect(self) -> Iterator[Metric]:
        """Each metric, what cannot be asked left out."""
        metrics: list[Metric] = []
        with suppress(psycopg.Error):
            metrics = list(self._postgres())
        yield GaugeMetricFamily("pg_up", "Whether PostgreSQL answered", value=bool(metrics))
        yield from metrics
        info: dict[str, Any] = {}
        with suppress(redis.RedisError):
            client = redis.Redis.from_url(self._redis_url, socket_timeout=2, socket_connect_timeout=2)
            info = client.info()
            client.close()
        yield GaugeMetricFamily("redis_up", "Whether Redis answered", value=bool(info))
        if not info:
            return
        for name, field in _REDIS_COUNTERS.items():
            yield CounterMetricFamily(name.removesuffix("_total"), field, value=info[field])
        for name, field in _REDIS_GAUGES.items():
            yield GaugeMetricFamily(name, field, value=info[field])

    def _postgres(self) -> Iterator[Metric]:
        options = f"-c statement_timeout={_LIMIT_MS}ms -c default_transaction_read_only=on"
        with psycopg.connect(self._postgres_url, autocommit=True, connect_timeout=2, options=options) as connection:
            size = GaugeMetricFamily("pg_database_size_bytes", "Size of a database", labels=["datname"])
            backends = GaugeMetricFamily("pg_stat_database_numbackends", "Sessions", labels=["datname"])
            counts = [
                CounterMetricFamily(f"pg_stat_database_{name}", f"pg_stat_database.{name}", labels=["datname"])
                for name in _COUNTS
            ]
            for name, bytes_, sessions, *values in connection.execute(_OF_DATABASES):
                size.add_metric([name], bytes_)
                backends.add_metric([name], sessions)
                for family, value in zip(counts, values, strict=True):
                    family.add_metric([name], value)
            yield from (size, backends, *counts)
            activity = GaugeMetricFamily("pg_stat_activity_count", "Sessions by state", labels=["datname", "state"])
            for name, state, number in connection.execute(_OF_ACTIVITY):
                activity.add_metric([name, state], number)
            yield activity
            behind = GaugeMetricFamily(
                "pg_stat_replication_pg_wal_lsn_diff", "Bytes that a replica has not replayed", labels=["slot_name"]
            )
            for name, bytes_ in connection.execute(_OF_REPLICATION):
                behind.add_metric([name], bytes_ or 0)
            yield behind
            with suppress(psycopg.errors.UndefinedTable):
                row = connection.execute(_OF_OUTBOX).fetchone()
                yield GaugeMetricFamily(
                    "archzero_outbox_rows", "Changes that Redis has not been told of", value=row[0] if row else 0
                )


def main() -> None:
    """Serve until a signal ends it."""
    registry = CollectorRegistry()
    registry.register(Servers(os.environ[POSTGRES], os.environ[REDIS]))
    start_http_server(int(sys.argv[1]), addr="127.0.0.1", registry=registry)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    over.wait()


if __name__ == "__main__":
    main()
