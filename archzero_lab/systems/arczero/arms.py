"""Arms opened for the experiments: a running service, its database's counters, its cache's."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import psycopg

from archzero_lab.errors import MeasurementError
from archzero_lab.postgres.insights import database_counters
from archzero_lab.postgres.migrations import connect
from archzero_lab.systems.arczero.services import RunningService
from archzero_lab.systems.arczero.traffic import Operation
from archzero_lab.systems.driver import Driver
from archzero_lab.systems.spec import Counters


class ServiceArm:
    """Implements experiments.spec.Arm over HTTP. `close()` when done."""

    def __init__(self, service: RunningService, database_url: str, *, cached: bool, admin_token: str) -> None:
        self.service = service
        self.name = service.arm
        self.url = service.url
        self._cached = cached
        self._token = admin_token
        self._driver = Driver(service.url)
        self._connection = connect(database_url, autocommit=True)

    def reset(self) -> None:
        """Empty the cache (new generations; nothing else in Redis is touched)."""
        if self._cached:
            answer = self._call("POST", "/api/v1/cache/flush")
            if answer.get("status") != "flushed":
                raise MeasurementError(f"the cache of {self.name} was not emptied: {answer}")

    def ask(self, operation: Operation) -> tuple[float, int]:
        """Send one request and wait: (service_time_s, bytes)."""
        return self._driver.ask(operation)

    def counters(self) -> Counters:
        """Cache counters over all workers, PostgreSQL's over the arm's database."""
        stats = self._call("GET", "/api/v1/cache/stats") if self._cached else {"hits": 0, "misses": 0}
        try:
            database = database_counters(self._connection)
        except psycopg.Error:
            return Counters(stats["hits"], stats["misses"], None, None, None)
        return Counters(
            stats["hits"],
            stats["misses"],
            database.statements,
            database.execution_s,
            database.blocks_hit + database.blocks_read,
        )

    def close(self) -> None:
        """Close connections."""
        self._driver.close()
        self._connection.close()

    def _call(self, method: str, path: str) -> dict[str, Any]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
            if response.status != 200:
                raise MeasurementError(f"{method} {self.url}{path} answered {response.status}: {answer}")
            return answer
        except OSError as error:
            raise MeasurementError(f"{self.url} stopped answering ({error}); see its log in .lab/logs") from None
        finally:
            connection.close()
