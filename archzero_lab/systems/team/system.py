"""A team's own service as a system: its arms, requests and claims by its archzero.toml."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from archzero_lab.errors import SettingsError, unknown_name
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arms import ArmKind, Opening
from archzero_lab.systems.histories import Histories, Recorded
from archzero_lab.systems.profiles import Profile, SlotSize
from archzero_lab.systems.system import Loading, Rows
from archzero_lab.systems.team.builds import find_build
from archzero_lab.systems.team.copies import copied_from, copies, source_of
from archzero_lab.systems.team.prepared import PreparedTeam, same_of
from archzero_lab.systems.team.project_file import Project, body_texts, filled
from archzero_lab.systems.team.project_tables import ArmEntry
from archzero_lab.systems.team.requests import read_values
from archzero_lab.systems.work import Countable

REQUESTS = "requests"
_MOST_SHARES = 50
"""Of a crowd's mix, by kind of request: what is asked for once in a thousand times is then asked for too often."""
_SIZES = {"smoke": (12, SlotSize(10, 20)), "standard": (20, SlotSize(30, 60)), "full": (40, SlotSize(60, 120))}
"""Blocks, and the size of a slot, by profile; a claim of a p95 gets the requests that it takes."""


class _NoHistories:
    """Implements systems.histories.Histories: a team's cache is not written and read at random."""

    guards: Sequence[str] = ()
    libraries: Sequence[str] = ()

    def opened(self, stack: Stack, redis_url: str, seed: int, *, near: bool) -> AbstractContextManager[Recorded]:
        """There is none."""
        raise SettingsError(
            "verify-consistency is about the card service; call it where no archzero.toml names another"
        )


class TeamSystem:
    """Implements systems.system.System."""

    checks: Collection[str] = ()
    takes_hosts: bool = False
    load_user: str = "RequestUser"
    self_check_arms: Mapping[str, str] = {}
    histories: Histories = _NoHistories()
    claims_at: str = "claims"
    has_notebooks: bool = False

    def __init__(self, project: Project) -> None:
        self.project = project
        self.name: str = project.name
        self.title: str = project.name
        self.claims_file: Path = project.path
        cached = project.redis is not None
        self.arms: Mapping[str, ArmKind] = {
            name: ArmKind(name if arm.database or project.database else "", cached or bool(arm.redis), name)
            for name, arm in project.arms.items()
        }
        names = [*project.arms, "", ""]
        self.compared: tuple[str, str] = (names[0], names[1] or names[0])
        self.think_time_s: float = project.load.think_time_s
        self.default_arm: str = self.compared[1]
        self.addresses: Mapping[str, str] = {name: arm.url for name, arm in project.arms.items() if arm.url}
        self.operations: Collection[str] = tuple(project.requests)
        self.counters: Mapping[str, bool] = {name: entry.rises for name, entry in project.counters.items()}
        self.mix: str = (
            f"requests by their weights, values by Zipf's law with exponent {project.load.popularity:g}"
            if any(one.weight > 0 for one in project.requests.values()) else ""
        )  # fmt: skip
        self.pool_arm: str = self.default_arm
        weights = {name: one.weight for name, one in project.requests.items() if one.weight > 0 and not one.writes}
        self.pool_mix: Mapping[str, int] = {
            name: min(round(weight / min(weights.values())), _MOST_SHARES) for name, weight in weights.items()
        }
        named = project.database.pool_metrics if project.database else {}
        self.pool_metrics: Mapping[str, str] = {str(what): sample for what, sample in named.items()}
        reads_first = sorted(project.requests.items(), key=lambda named: named[1].writes)
        self.countable: Countable = Countable(
            {name: request.writes for name, request in reads_first if name != project.service.login},
            tag=project.work.tag,
            background=project.work.background,
            exact_bytes=[name for name, one in reads_first if not one.writes and same_of(one) in ("body", "unordered")],
        )
        self.profiles: Mapping[str, Profile] = {
            name: Profile(
                name, 0, blocks, dict.fromkeys((*project.requests, REQUESTS), size), load_blocks=8,
                load_slot_s=2.0, load_warm_up_s=3.0, load_users=8, limit_s=0,
            )
            for name, (blocks, size) in _SIZES.items()
        }  # fmt: skip

    def require_ready(self) -> None:
        """Arms, and what the environment is to hold: a variable that is not set is told before anything starts."""
        where = self.project.path.name
        if not self.project.arms:
            raise SettingsError(f"{where} names no [arms]: what is compared, by build or url (docs/your-service.md)")
        source_of(self.project)
        for name, entry in self.project.arms.items():
            for text in (entry.url, entry.database, entry.redis, *entry.environment.values()):
                filled(text, f"{where}: [arms.{name}]")
        for text in (*self.project.service.headers.values(), *self.project.service.environment.values()):
            filled(text, f"{where}: [service]")
        for name, request in self.project.requests.items():
            login = name == self.project.service.login
            for text in (*request.headers.values(), *(body_texts(request) if login else ())):
                filled(text, f"{where}: [requests.{name}]")

    @contextmanager
    def prepare(
        self, stack: Stack, rows: Rows, purpose: str, arms: Collection[str], loading: Loading
    ) -> Iterator[PreparedTeam]:
        """Builds installed, a copy of the team's database for each, prepared and migrated; values read.

        Of all rows, or of a sample of about `rows.sample` of each table, from which the values are then. Where work is
        counted they are of the copy, too: what a database that lives tells first is another thing each time.
        """
        project = self.project
        with loading.work("load"):
            builds = {name: find_build(project, project.arms[name].build) for name in arms if project.arms[name].build}
            source, _ = source_of(project)
            of_copy = bool(rows.sample) or purpose == "work"
            values = {} if of_copy else read_values(project, source)
        with ExitStack() as dropping:
            with loading.work("migrate"):
                made = dropping.enter_context(copies(project, stack, builds, purpose, rows.sample))
            databases = {arm: copy.url for arm, copy in made.items()}
            to_vacuum = {arm: copy.to_vacuum for arm, copy in made.items()}
            if of_copy:
                values = read_values(project, next(iter(databases.values()), source))
            copied = copied_from(source, stack) if databases else ""
            yield PreparedTeam(project, stack, builds, databases, values, rows.seed, copied, to_vacuum)

    def rows_exist(self, url: str) -> int:
        """A team's rows are not counted."""
        return 0

    def pool_opening(self, stack: Stack, arm: str, size: int) -> Opening:
        """An arm that is told how many connections its pool may have."""
        where, database = self.project.path.name, self.project.database
        if database is None or not database.pool_variable:
            raise SettingsError(
                f"{where}: [database] pool_variable names no variable by which a build is told the size of its pool"
            )
        if arm not in self.project.arms:
            raise unknown_name("arm", arm, list(self.project.arms))
        if self.project.arms[arm].url:
            raise SettingsError(f"{where}: [arms.{arm}] runs already: a pool's size is told to a build that is started")
        return Opening(arm, f"pool-{size}", environment={database.pool_variable: str(size)})

    def of_builds(self, baseline: str, candidate: str) -> TeamSystem:
        """This system with two arms: a baseline and a candidate build, each as the arm of that build is set up."""
        arms = {"baseline": self._arm_of(baseline), "candidate": self._arm_of(candidate)}
        return TeamSystem(replace(self.project, arms=arms))

    def of_arm(self, name: str, build: str) -> TeamSystem:
        """This system with one arm, as that arm is set up, of a build; "" for the arm of the tree as it lies here."""
        named = name or next((one for one, entry in self.project.arms.items() if entry.build == build), "here")
        entry = msgspec.structs.replace(self.project.arms.get(named, ArmEntry(build=build)), build=build)
        return TeamSystem(replace(self.project, arms={named: entry}))

    def _arm_of(self, build: str) -> ArmEntry:
        for entry in self.project.arms.values():
            if entry.build == build:
                return entry
        return ArmEntry(build=build)
