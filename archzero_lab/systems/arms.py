"""Arms: one side of a comparison, how it is opened, and the counters that say what its times are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from archzero_lab.errors import MeasurementError
from archzero_lab.postgres.statement_work import StatementWork, work_since
from archzero_lab.servers.process import ProcessRecord
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.operations import Operation


@dataclass(frozen=True)
class ArmKind:
    """What a system's arm is: the database that it reads ("": none that is counted), whether a cache stands before it,
    and how figures name it.

    `near` is a cache in the process beside the one in Redis; `statements` one of statements' results in its place.
    """

    database: str
    cached: bool
    label: str
    near: bool = False
    statements: bool = False


@dataclass(frozen=True)
class Counters:
    """Totals of an arm that only grow; the difference over a slot is the mechanism behind its times.

    PostgreSQL's are None where pg_stat_statements is not to be had. `own` are totals that a system names itself.
    """

    hits: int
    misses: int
    statements: int | None
    database_s: float | None
    blocks: int | None
    own: Mapping[str, float] = field(default_factory=dict)
    rows: int | None = None
    temporary_blocks: int | None = None
    wal_bytes: int | None = None
    redis_calls: int | None = None
    """What was asked of Redis: round trips where the service tells them, else the commands of its Redis."""
    by_statement: Mapping[str, StatementWork] = field(default_factory=dict)
    """What each statement did, by its text without its constants."""

    def since(self, earlier: Counters) -> Counters:
        """What was added since `earlier`."""

        def less(now: Any, then: Any) -> Any:
            return None if now is None or then is None else now - then

        return Counters(
            self.hits - earlier.hits,
            self.misses - earlier.misses,
            less(self.statements, earlier.statements),
            less(self.database_s, earlier.database_s),
            less(self.blocks, earlier.blocks),
            {name: value - earlier.own.get(name, 0.0) for name, value in self.own.items()},
            less(self.rows, earlier.rows),
            less(self.temporary_blocks, earlier.temporary_blocks),
            less(self.wal_bytes, earlier.wal_bytes),
            less(self.redis_calls, earlier.redis_calls),
            work_since(self.by_statement, earlier.by_statement),
        )


class NotReset(MeasurementError):
    """An arm's cache was not emptied, however often it was asked: what follows is measured, and marked."""


class Arm(Protocol):
    """One side of a comparison, up and running."""

    @property
    def name(self) -> str:
        """control, treatment, …"""

    @property
    def url(self) -> str:
        """Where it answers."""

    @property
    def process(self) -> ProcessRecord | None:
        """The process that answers; None where it is not ours."""

    def reset(self) -> None:
        """Put the cache into the state that every slot begins with: empty. Raises NotReset where it is not."""

    def ask(self, operation: Operation) -> tuple[float, int]:
        """Send one request and wait: (service_time_s, bytes). Raises MeasurementError for a wrong answer."""

    def as_sent(self, operation: Operation) -> Operation:
        """An operation as it goes out to this arm, with a login's cookies: for who has a connection of his own."""

    def counters(self) -> Counters:
        """Totals so far."""

    def cache_counts(self) -> tuple[int, int]:
        """(hits, misses) of the cache so far, without asking the database."""


@dataclass(frozen=True)
class Opening:
    """How one arm is opened: which of the system's it is, and what is different from how it usually is.

        Opening("treatment")
        Opening("treatment", name="far", through=relay.through)     # its database at a distance
        Opening("treatment", name="candidate", code=worktree)       # another build of the service

    `stack` holds other servers or settings than those that its databases were made on; `environment` is what a team's
    build is told besides.
    """

    arm: str
    name: str = ""
    stack: Stack | None = None
    through: Callable[[str], str] | None = None
    code: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """Its name among the arms that are opened together."""
        return self.name or self.arm
