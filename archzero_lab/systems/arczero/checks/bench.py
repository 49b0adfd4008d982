"""What a check of the card service works on: a cached service, its database, ids of cards that are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.services import RunningService
from archzero_lab.systems.http import call


@dataclass(frozen=True)
class Bench:
    """The treatment's service and database, and ids of active cards in random order."""

    stack: Stack
    service: RunningService
    database_url: str
    ids: list[str]

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, JSON) of a request; 0 where there was no answer."""
        return call(self.service.url, method, path, body, **headers)

    def counts(self) -> dict[str, int]:
        """The cache's hits and misses so far; none where it did not tell."""
        status, stats = self.call("GET", "/api/v1/cache/stats")
        return {name: int(stats[name]) if status == 200 else 0 for name in ("hits", "misses")}

    def is_cached(self, path: str) -> bool:
        """Ask twice: whether the second answer came from the cache."""
        self.call("GET", path)
        before = self.counts()["hits"]
        status, _ = self.call("GET", path)
        return status == 200 and self.counts()["hits"] > before
