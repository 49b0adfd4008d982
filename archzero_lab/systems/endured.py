"""A service that must endure: what verify-faults reads, writes and asks of it while everything around it breaks."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, LiteralString, Protocol

from archzero_lab.servers.stack import Stack


@dataclass(frozen=True)
class Wanted:
    """How a service is started for it: worker processes, guards to leave out, variables of its environment."""

    workers: int
    without: Collection[str] = ()
    environment: Mapping[str, str] | None = None


class Endured(Protocol):
    """A running service. Its items are JSON objects at paths, with `version` and ETag, changed by PUT with If-Match."""

    url: str
    pid: int
    """Of the process that all of its processes descend from."""
    database_url: str
    items: Sequence[str]
    """Paths of items that nobody else writes."""
    pages: Sequence[str]
    """Paths that many ask for: pages, searches, health."""
    bystander: str
    """Path of one more item, which ordinary clients meet on pages alone."""
    lock: LiteralString
    """SQL that locks the bystander's row."""
    versions: LiteralString
    """SQL: (path, version) of each item of the array %s of paths."""
    enlarge: LiteralString
    """SQL that makes the bystander's row larger than any client could, with no word to the cache."""
    shrink: LiteralString
    """SQL that makes it as small as others."""

    def change(self, number: int) -> dict[str, Any]:
        """The JSON of a PUT."""

    def new(self, name: str) -> tuple[str, dict[str, Any], LiteralString]:
        """Path and JSON of a POST that makes an item of this name, and SQL for the names like %s that are there."""

    def dear(self, rng: random.Random) -> str:
        """A path whose answer costs much, and which nobody asked for before."""

    def large(self) -> tuple[str, str, bytes]:
        """Path, type and body of the largest POST that it takes."""


class Endures(Protocol):
    """What verify-faults needs of a system."""

    guards: Sequence[str]

    def opened(self, stack: Stack, wanted: Wanted) -> AbstractContextManager[Endured]:
        """Load rows on the stack's PostgreSQL and start the service on both servers."""
