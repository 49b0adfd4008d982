"""The card service's arms: services as processes, with the counters of their database and their cache."""

from __future__ import annotations

import time

import httpx
import psycopg

from archzero_lab.errors import MeasurementError
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.database_counters import database_counters
from archzero_lab.servers.process import ProcessRecord
from archzero_lab.systems.arczero.services import RunningService
from archzero_lab.systems.arms import ArmKind, Counters, NotReset
from archzero_lab.systems.driver import Driver
from archzero_lab.systems.http import request
from archzero_lab.systems.operations import Operation

_TRIES, _APART_S = 5, 0.1
ARMS = {
    "control": ArmKind("control", False, "control (no index, no cache)"),
    "indexes": ArmKind("treatment", False, "indexes (no cache)"),
    "cache": ArmKind("control", True, "cache (no index)"),
    "treatment": ArmKind("treatment", True, "treatment (indexes and cache)"),
    "v2": ArmKind("v2", False, "index set v2 (no cache)"),
    "v2-cache": ArmKind("v2", True, "index set v2 and cache"),
    "near": ArmKind("treatment", True, "treatment, cache in the process too", near=True),
    "statement-cache": ArmKind("treatment", True, "indexes, results of statements cached", statements=True),
}
"""Without both, phase 5's indexes alone, its cache alone, both; index set v2 with the statements that fit it, alone and
with the cache; phase 5's with the cache in the process before the one in Redis; with the results of statements kept
below the service, as an ORM would."""


class ServiceArm:
    """Implements systems.arms.Arm over HTTP. `close()` when done."""

    def __init__(
        self, name: str, service: RunningService, database_url: str, *, cached: bool, admin_token: str
    ) -> None:
        self.name = name
        self.service = service
        self.url = service.url
        self.database_url = database_url
        self.process: ProcessRecord | None = service.record
        self._cached = cached
        self._token = admin_token
        self._driver = Driver(service.url)
        self._connection = connect(database_url, autocommit=True)

    def reset(self) -> None:
        """Empty the cache (new generations; nothing else in Redis is touched).

        A Redis that was too slow for once is asked again: who does not believe in it owes the flush, and has it made up
        for within moments. Raises NotReset.
        """
        if not self._cached:
            return
        for tried in range(_TRIES):
            answer = self._call("POST", "/api/v1/cache/flush")
            if answer.get("status") == "flushed":
                return
            time.sleep(_APART_S * (tried + 1))  # until Redis is believed again
        raise NotReset(f"the cache of {self.name} was not emptied: {answer}")

    def ask(self, operation: Operation) -> tuple[float, int]:
        """Send one request and wait: (service_time_s, bytes)."""
        return self._driver.ask(operation)

    def body(self, operation: Operation) -> bytes:
        """The body that answers a read."""
        return self._driver.get(operation.path)[2]

    def as_sent(self, operation: Operation) -> Operation:
        """As it is."""
        return operation

    def cache_counts(self) -> tuple[int, int]:
        """(hits, misses) over all workers."""
        hits, misses, _ = self._cache_counters()
        return hits, misses

    def _cache_counters(self) -> tuple[int, int, int]:
        """(hits, misses, round trips to Redis) over all workers."""
        if not self._cached:
            return 0, 0, 0
        stats = self._call("GET", "/api/v1/cache/stats")
        return int(str(stats["hits"])), int(str(stats["misses"])), int(str(stats["round_trips"]))

    def counters(self) -> Counters:
        """Cache counters over all workers, PostgreSQL's over the arm's database."""
        hits, misses, calls = self._cache_counters()
        try:
            database = database_counters(self._connection)
        except psycopg.Error:
            return Counters(hits, misses, None, None, None, redis_calls=calls)
        blocks = database.blocks_hit + database.blocks_read
        return Counters(
            hits, misses, database.statements, database.execution_s, blocks,
            rows=database.rows, temporary_blocks=database.temporary_blocks, wal_bytes=database.wal_bytes,
            redis_calls=calls, by_statement=database.by_statement,
        )  # fmt: skip

    def close(self) -> None:
        """Close connections."""
        self._driver.close()
        self._connection.close()

    def _call(self, method: str, path: str) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            answer = request(self.url, method, path, **headers)
            body: dict[str, object] = answer.json()
        except httpx.HTTPError as error:
            raise MeasurementError(f"{self.url} stopped answering ({error}); see its log in .lab/logs") from None
        except ValueError:
            raise MeasurementError(f"{method} {self.url}{path} answered no JSON; see its log in .lab/logs") from None
        if answer.status_code != 200:
            raise MeasurementError(f"{method} {self.url}{path} answered {answer.status_code}: {body}")
        return body
