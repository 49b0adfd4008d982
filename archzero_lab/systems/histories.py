"""Recorded histories: what a process of a system's own read and wrote, and the file by which it tells.

Times are CLOCK_MONOTONIC in nanoseconds, one clock for all processes of a machine. An item's versions grow by one with
each write, so the order of versions is the order of writes. The check over them is jobs.consistency.check.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from archzero_lab.servers.stack import Stack


@dataclass(frozen=True, slots=True)
class Write:
    """A write: the version it made of `key`, when it was asked for and when acknowledged.

    One that was `refused` may have been made all the same (an answer of 503 does not say); its version is not known.
    Of an `external` one (plain SQL, which no fence announces) the end is when it must be seen at the latest; before
    that a reader that has met it in the database may still meet the older value in Redis.
    """

    key: str
    version: int
    began_ns: int
    ended_ns: int
    external: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """A read: the version of `key` that it gave. `session` is one reader; `through` is card, list or search."""

    key: str
    version: int
    began_ns: int
    ended_ns: int
    session: str
    through: str


class Recorded(Protocol):
    """A system's cached service that is written and read at random by processes of its own."""

    @property
    def database_url(self) -> str:
        """Its database."""

    @property
    def by_sql(self) -> Sequence[str]:
        """Items that nobody writes but plain SQL: the next write of the service would cover a lost change."""

    @property
    def change(self) -> str:
        """Plain SQL that writes the item %(item)s and returns its new version."""

    @property
    def change_many(self) -> str:
        """The same, with so many others at once that nobody names them one by one."""

    def command(self, job: Path) -> list[str]:
        """The program that does a job's file, and writes its part of the history by `save`."""

    def job(self, number: int, without: Collection[str], of: str | None) -> dict[str, Any]:
        """What one process is told beside how much it reads and when it ends."""


class Histories(Protocol):
    """What verify-consistency needs of a system with a cache."""

    guards: Sequence[str]
    """Parts of the cache protocol that can be taken out, to show that each is needed."""
    libraries: Sequence[str]
    """Other cache libraries that can stand in its place."""

    def opened(self, stack: Stack, redis_url: str, seed: int, *, near: bool) -> AbstractContextManager[Recorded]:
        """A database of its own, dropped when the block ends."""


def save(path: Path, writes: list[Write], reads: list[Read]) -> None:
    """Write a process's part of a history."""
    rows = {
        "writes": [[w.key, w.version, w.began_ns, w.ended_ns, w.external, w.refused] for w in writes],
        "reads": [[r.key, r.version, r.began_ns, r.ended_ns, r.session, r.through] for r in reads],
    }
    whole = path.with_suffix(".part")
    whole.write_text(json.dumps(rows))
    whole.rename(path)  # who sees the file sees all of it


def load(paths: Iterable[Path]) -> tuple[list[Write], list[Read]]:
    """Read the parts of all processes."""
    writes: list[Write] = []
    reads: list[Read] = []
    for path in paths:
        rows = json.loads(path.read_text())
        writes += [Write(*row) for row in rows["writes"]]
        reads += [Read(*row) for row in rows["reads"]]
    return writes, reads
