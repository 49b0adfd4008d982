"""What the running stack does meanwhile, a reading a second: hit rate, pool and database counters."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psycopg

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import LabError
from archzero_lab.postgres.connection import connect
from archzero_lab.servers.stack import kept_stack, status
from archzero_lab.settings import load_settings
from archzero_lab.systems.arczero.portfolios import arm_urls
from archzero_lab.systems.http import call, metrics

_DATABASE = """
SELECT sum(xact_commit + xact_rollback)::bigint, sum(blks_hit)::bigint, sum(blks_read)::bigint,
    sum(tup_returned)::bigint,
    (SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid())
FROM pg_stat_database WHERE datname = ANY(%(names)s)
"""


@dataclass
class Pulse:
    """Readings of the stack that `./lab up` keeps. `look()` takes one; nothing where no stack is up."""

    rows: list[dict[str, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._service = ""
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._names: list[str] = []
        self._before: dict[str, float] = {}
        try:
            settings = load_settings()
            kept = kept_stack(settings)
            if kept is None:
                return
            urls = arm_urls(kept, "up")
            self._service = status(settings)["service"]["url"] or ""
            self._names = [url.rpartition("/")[2].partition("?")[0] for url in urls.values()]
            # to the maintenance database: a reading must not count itself
            self._connection = connect(kept.postgres_url, autocommit=True)
        except (LabError, psycopg.Error, OSError, KeyError):  # a stack that is just being started or ended
            self.close()

    @property
    def beats(self) -> bool:
        """Whether there is a stack to read."""
        return self._connection is not None

    def look(self) -> dict[str, float | None] | None:
        """What happened since the reading before: rates a second, the hit rate, connections; None of the first."""
        if self._connection is None:
            return None
        try:
            now = self._counters(self._connection)
        except (psycopg.Error, OSError, ValueError, LabError):
            self.close()
            return None
        before, self._before = self._before, now
        if not before:
            return None
        seconds = now["at"] - before["at"]
        gone = {name: now[name] - before.get(name, 0.0) for name in now}
        reads, waits = gone["hits"] + gone["misses"], gone.get("waits", 0.0)
        row: dict[str, float | None] = {
            "transactions/s": round(gone["transactions"] / seconds, 1),
            "rows read/s": round(gone["rows"] / seconds),
            "blocks from memory/s": round(gone["blocks_hit"] / seconds),
            "blocks from disk/s": round(gone["blocks_read"] / seconds),
            "active backends": now["active"],
            "hit rate": round(gone["hits"] / reads, 3) if reads > 0 else None,
            "pool: connections held": round(gone.get("held_s", 0.0) / seconds, 2),
            "pool: wait ms": round(1000 * gone["waited_s"] / waits, 2) if waits > 0 else None,
        }
        self.rows.append(row)
        return row

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _counters(self, connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, float]:
        row = connection.execute(_DATABASE, {"names": self._names}).fetchone()
        names = ("transactions", "blocks_hit", "blocks_read", "rows", "active")
        counted = {name: float(str(value or 0)) for name, value in zip(names, row or (0,) * 5, strict=True)}
        counted["at"] = time.monotonic()
        stats = call(self._service, "GET", "/api/v1/cache/stats")[1] if self._service else None
        stats = stats if isinstance(stats, dict) else {}
        counted |= {"hits": float(stats.get("hits", 0)), "misses": float(stats.get("misses", 0))}
        return counted | (self._pool() if self._service else {})

    def _pool(self) -> dict[str, float]:
        samples = metrics(self._service)
        return {short: samples[name] for short, name in system_here().pool_metrics.items() if name in samples}
