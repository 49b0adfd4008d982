"""What a system's processes did while its database changed hands, and what verify-failover needs of the system.

Times are CLOCK_MONOTONIC in nanoseconds, one clock for all processes of a machine. A mark is unique to a write and lies
in what it wrote, so that a version that was lost and one that took its number afterwards are told apart.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from archzero_lab.servers.failover import FailoverCluster
from archzero_lab.servers.stack import Stack


@dataclass(frozen=True, slots=True)
class Writing:
    """A write of `key`: the version that it was answered with, 0 where it was refused (and perhaps made)."""

    key: str
    version: int
    mark: str
    began_ns: int
    ended_ns: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A read: the version and mark that `key` had, 0 where it was not found; who read it and through what.

    `least` and `after`: the version and mark of the session's own write just before it.

    `plain` ones are read past the cache, by a token alone: of others' writes they may know nothing yet.
    """

    key: str
    version: int
    mark: str
    began_ns: int
    ended_ns: int
    session: str
    through: str
    least: int = 0
    after: str = ""


@dataclass
class Operations:
    """What happened. `failed`: when it was asked for, when it was refused, and whether it was a read or a write."""

    writes: list[Writing] = field(default_factory=list)
    reads: list[Reading] = field(default_factory=list)
    failed: list[tuple[int, int, str]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it down; who sees the file sees all of it."""
        rows = {
            "writes": [[w.key, w.version, w.mark, w.began_ns, w.ended_ns] for w in self.writes],
            "reads": [
                [r.key, r.version, r.mark, r.began_ns, r.ended_ns, r.session, r.through, r.least, r.after]
                for r in self.reads
            ],
            "failed": self.failed,
        }
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(rows))
        partial.rename(path)

    @classmethod
    def load(cls, paths: Iterable[Path]) -> Operations:
        """What all processes did."""
        whole = cls()
        for path in paths:
            rows = json.loads(path.read_text())
            whole.writes += [Writing(*row) for row in rows["writes"]]
            whole.reads += [Reading(*row) for row in rows["reads"]]
            whole.failed += [(began, ended, what) for began, ended, what in rows["failed"]]
        return whole


class Replicated(Protocol):
    """A system on a cluster, with a cache before it."""

    def command(self, job: Path) -> list[str]:
        """The program that does a job's file, and saves its Operations."""

    def job(self, number: int, without: Collection[str]) -> dict[str, Any]:
        """What one process is told beside where its files are."""

    def lineage(self, url: str) -> list[tuple[str, int, str]]:
        """Every key, version and mark that was ever committed, as the database at `url` has it."""


class Failovers(Protocol):
    """What verify-failover needs of a system."""

    guards: Sequence[str]
    """Parts that can be taken out, to show that each is needed."""
    libraries: Sequence[str]
    """Other ways to choose a replica that can stand in the place of ours."""

    def opened(
        self, stack: Stack, cluster: FailoverCluster, redis_url: str, seed: int, of: str | None
    ) -> AbstractContextManager[Replicated]:
        """On a database of the cluster's own."""
