"""A system: what is measured. Its arms, the databases below them, what is asked of them, checks of its own.

Phase 5's card service (systems.arczero) is the first. Jobs know a system by this protocol alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from archzero_lab.postgres.statement import Statement
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arms import Arm, ArmKind, Opening
from archzero_lab.systems.checks import Tried
from archzero_lab.systems.histories import Histories
from archzero_lab.systems.operations import SlotOperations
from archzero_lab.systems.profiles import Profile
from archzero_lab.systems.work import Countable


@dataclass(frozen=True)
class Rows:
    """Which rows are loaded: how many, by which seed, and of which files of a user's, by what they hold.

    `sample`: of a database of somebody's own about so many of each table, 0 for all.
    """

    size: int
    seed: int = 1
    files: Mapping[str, Path] = field(default_factory=dict)
    sample: int = 0


class Loading(Protocol):
    """Who is told of the two steps that make databases."""

    def work(self, what: str) -> AbstractContextManager[Callable[[float], None]]:
        """A step; the callable takes the share done."""


class Prepared(Protocol):
    """A system's databases for one purpose, loaded and migrated; its arms are opened on them."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a run tells of the rows: "size", "label", and names of the system's own (cards, relationships, …).

        "to_vacuum", where arms are migrated copies: arm -> table -> pages that are left to a VACUUM. "commits", where
        the arms are builds: arm -> (commit, whether it has changes that no commit holds).
        """

    @property
    def urls(self) -> Mapping[str, str]:
        """URLs of its databases, by name."""

    def arms(self, *openings: Opening) -> AbstractContextManager[dict[str, Arm]]:
        """The one way to open arms: all of them up at once for as long as the block runs, by what each is called."""

    def operations(
        self, kind: str, *, distinct: int, requests: int, seed: int, block: int, paths: Sequence[str] = ()
    ) -> SlotOperations:
        """The operations of one block, the same for every arm of it."""

    def work(self, kind: str, requests: int, seed: int) -> SlotOperations:
        """Operations of a countable kind, each another one: a read is asked for again, a write warms up by others."""

    def items(self) -> list[str]:
        """A path for each of many single things: reads that nobody has made before, as long as they last."""

    def load_values(self, arms: Collection[str]) -> str:
        """What the load tests ask these arms for, as their catalog file holds it; no secret is in it."""

    def load_environment(self, arm: Arm) -> Mapping[str, str]:
        """What the load tests are told besides, which is written nowhere: headers, a login's cookies."""

    def mix_counters(self, arm: Arm) -> Mapping[str, Any]:
        """An arm's totals as a load of all requests reads them: hits, misses, statements, database_s, and more of it.

        None for what is not to be had. Raises MeasurementError.
        """

    def statements(self) -> list[Statement]:
        """One statement of each kind that the workload sends, with its values."""

    def unlike(self, arms: Mapping[str, Arm], kinds: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """By kind of operation: what the arms answer otherwise than each other, asked now or seen before."""

    def check(self, name: str, arm: Arm) -> Tried:
        """Try one of the system's checks on an arm."""

    def hit_costs(self, arms: Mapping[str, Arm]) -> Mapping[str, Mapping[str, float]]:
        """By kind of operation: microseconds of CPU of the cache's hit, by layer; nothing where that is unknown."""

    def use_everything(self, arms: Mapping[str, Arm]) -> None:
        """Ask arms in every way there is, after all that is measured: an index unread then serves nothing."""

    def tables_as_indexes(self) -> Mapping[str, int]:
        """Bytes of tables that are there for reading alone, by database: they count as indexes do."""


class System(Protocol):
    """What is measured."""

    name: str
    title: str
    """How a page names it."""
    arms: Mapping[str, ArmKind]
    compared: tuple[str, str]
    """The databases whose plans and indexes are held against each other."""
    operations: Collection[str]
    """Kinds of operation that can be timed, beside "requests" (paths of a claim's own)."""
    profiles: Mapping[str, Profile]
    checks: Collection[str]
    claims_file: Path
    claims_at: str
    """The table of that file under which they stand; "" for all of it."""
    counters: Mapping[str, bool]
    """Counters of its own that can be a claim's mechanism, and whether more of one is what a gain comes with."""
    has_notebooks: bool
    """Whether the notebooks about a run are about this system's."""
    mix: str
    """What its load is in a report, in a phrase; "" where a report has none."""
    load_user: str
    """The load tests' class of users who wait for their answers."""
    think_time_s: float
    """How long they pause, on average."""
    takes_hosts: bool
    """Whether a load can go to a host that only an option names."""
    default_arm: str
    """The arm that a load goes to where none is named."""
    addresses: Mapping[str, str]
    """Arm -> where it runs already, of those that the lab does not start."""
    self_check_arms: Mapping[str, str]
    """Server -> the arm that each request of which goes to it."""
    countable: Countable
    """What of it `lab work` counts."""
    pool_arm: str
    """Where a crowd goes that tries the sizes of its pool; where none else is named."""
    pool_mix: Mapping[str, int]
    """What that asks for: shares by kind of operation."""
    pool_metrics: Mapping[str, str]
    """waits, waited_s and held_s of its connection pool -> the names of its metrics, as far as it has them."""
    histories: Histories

    def require_ready(self) -> None:
        """Raise LabError for what a person has to mend first, before anything is started for it."""

    def prepare(
        self, stack: Stack, rows: Rows, purpose: str, arms: Collection[str], loading: Loading
    ) -> AbstractContextManager[Prepared]:
        """The databases of these arms, dropped when the block ends; the steps "load" and "migrate" are told.

        `purpose` keeps them apart from those of another command. Raises LabError for what a person can mend.
        """

    def pool_opening(self, stack: Stack, arm: str, size: int) -> Opening:
        """An arm with a pool of so many connections. Raises LabError where it cannot be told."""

    def rows_exist(self, url: str) -> int:
        """How many rows a running service of this system holds. Raises LabError where it is none."""
