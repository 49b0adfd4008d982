"""A team's databases and builds made ready for one purpose, and the arms opened on them."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import cycle, islice
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from archzero_lab.errors import MeasurementError, SettingsError, mask_secrets
from archzero_lab.postgres.databases import database_url
from archzero_lab.postgres.statement import Statement
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arms import Arm, Opening
from archzero_lab.systems.checks import Tried
from archzero_lab.systems.operations import SlotOperations
from archzero_lab.systems.team.answers import AnswersSeen
from archzero_lab.systems.team.arm import Place, TeamArm, said
from archzero_lab.systems.team.builds import Build, hint_at_install
from archzero_lab.systems.team.copies import variables
from archzero_lab.systems.team.project_file import Project, filled
from archzero_lab.systems.team.project_tables import ArmEntry, RequestEntry
from archzero_lab.systems.team.requests import Requests
from archzero_lab.systems.team.serving import start_build, wait_until_ready

_DRAWN = 2_000
_NUMBER = 987_654_321_012
"""Stands for the number that each request of a load gets when it is sent."""
_UNTOUCHED = 20
"""Requests of a negative control, after each slot."""
_TRIED = 5
_MOST_ARMS = 15


class PreparedTeam:
    """Implements systems.system.Prepared over a team's own service. `databases` are the arms' copies, as owner."""

    def __init__(
        self, project: Project, stack: Stack, builds: Mapping[str, Build], databases: Mapping[str, str],
        values: Mapping[str, Sequence[str]], seed: int, copied: str, to_vacuum: Mapping[str, Mapping[str, int]],
    ) -> None:  # fmt: skip
        self._project = project
        self._stack = stack
        self._builds = builds
        self._databases = databases
        self._requests = Requests(project, values)
        self._seed = seed
        self._seen = AnswersSeen({name: same_of(request) for name, request in project.requests.items()})
        self.urls = {arm: self._as_ours(url) for arm, url in databases.items()}
        words = {arm: build.in_words for arm, build in builds.items()}
        words |= {arm: mask_secrets(entry.url) for arm, entry in project.arms.items() if entry.url}
        self.facts: Mapping[str, Any] = {
            "size": 0, "label": project.name, "arms_are": words,
            "commits": {arm: [build.commit, build.changed] for arm, build in builds.items() if build.commit},
            "copied": copied, "to_vacuum": to_vacuum,
            "in_words": "; ".join([*(f"{arm}: {what}" for arm, what in words.items()), *filter(None, [copied])]),
        }  # fmt: skip

    @contextmanager
    def arms(self, *openings: Opening) -> Iterator[dict[str, Arm]]:
        """Builds, up at once, and those that run already; each logged in where the file says how."""
        if len(openings) > _MOST_ARMS:
            raise SettingsError(f"{len(openings)} arms at once; {_MOST_ARMS} have a Redis database of their own")
        with ExitStack() as closing:
            places = [self._place(opening, number, closing) for number, opening in enumerate(openings, 1)]
            opened: dict[str, Arm] = {}
            for place in places:
                arm = TeamArm(place, self._project.service.reset, self._project.counters, self._seen)
                closing.callback(arm.close)
                opened[place.name] = arm
            for made in opened.values():
                self._log_in(cast("TeamArm", made))
            yield opened

    def _place(self, opening: Opening, number: int, closing: ExitStack) -> Place:
        """Where an arm is; a build is started, and awaited."""
        entry, service = self._project.arms[opening.arm], self._project.service
        where = f"{self._project.path.name}: [arms.{opening.arm}]"
        if entry.url:
            return Place(
                opening.called, filled(entry.url, f"{where} url"), filled(entry.database, f"{where} database"),
                filled(entry.redis, f"{where} redis"), verify=self._verify(), may_write=entry.may_write,
            )  # fmt: skip
        stack = opening.stack or self._stack
        database = self._databases.get(opening.arm, "")
        place = opening.through(database) if opening.through and database else database
        if self._project.redis and stack.redis_pid is None:
            raise SettingsError(
                "arms get an empty Redis of the lab's own: unset ARCHZERO_REDIS_URL, which names another"
            )
        redis_url = _numbered(stack.redis_url, number) if self._project.redis else ""
        given = self._variables(entry, place, redis_url, where) | dict(opening.environment)
        build = self._builds[opening.arm]
        tree = opening.code or build.tree
        started = start_build(service, self._stack.registry, opening.called, tree, given)
        closing.callback(self._stack.registry.stop, started.process)
        with hint_at_install(self._project, build.revision):
            wait_until_ready(service, opening.called, started)
        counted = self._as_ours(database) if database else ""
        apart = urlsplit(counted).username != urlsplit(database).username
        return Place(
            opening.called, started.url, counted, redis_url, owned=True, may_write=True, apart=apart, tree=tree,
            variables=given, process=started.process,
        )  # fmt: skip

    def _variables(self, entry: ArmEntry, database: str, redis_url: str, where: str) -> dict[str, str]:
        made = variables(self._project, database)
        if self._project.redis and redis_url:
            made[self._project.redis.variable] = redis_url
        own = {**self._project.service.environment, **entry.environment}
        return made | {name: filled(value, f"{where} environment") for name, value in own.items()}

    def _verify(self) -> bool | str:
        given = self._project.service.verify
        return str((self._project.folder / given).resolve()) if isinstance(given, str) else given

    def _as_ours(self, url: str) -> str:
        """A copy's URL as the lab's own role, which may read what it counts."""
        return database_url(self._stack.postgres_url, urlsplit(url).path.lstrip("/"))

    def _log_in(self, arm: TeamArm) -> None:
        kind = self._project.service.login
        if not kind:
            return
        operation = self._requests.draw(kind, random.Random("login"), 0)
        _, status, _ = arm.look(operation)
        if status != operation.status:
            raise MeasurementError(
                f"login on arm {arm.name}: {operation.method} {arm.url}{operation.path} answered {status}, not "
                f"{operation.status} (its answer is not shown: it may hold what was sent)"
            )
        arm.cookies = cookies_of(arm.head)
        if not arm.cookies:
            raise MeasurementError(f"login on arm {arm.name}: {arm.url}{operation.path} set no cookie")

    def operations(
        self, kind: str, *, distinct: int, requests: int, seed: int, block: int, paths: Sequence[str] = ()
    ) -> SlotOperations:
        """The operations of one block, with the negative control where the file names one."""
        slot = self._requests.slot(kind, distinct=distinct, requests=requests, seed=seed, block=block, paths=paths)
        untouched = self._project.service.untouched
        if not untouched or untouched == kind:
            return slot
        control = self._requests.slot(untouched, distinct=_UNTOUCHED, requests=1, seed=seed, block=0).warm_up
        return replace(slot, control=tuple(islice(cycle(control), _UNTOUCHED)))

    def unlike(self, arms: Mapping[str, Arm], kinds: Sequence[str]) -> dict[str, list[str]]:
        """What the arms answer otherwise than each other or than the file says: a few of each kind asked now, and what
        was seen since.
        """
        for kind in kinds:
            if kind not in self._project.requests or kind == self._project.service.login:
                continue
            for operation in self.operations(kind, distinct=_TRIED, requests=1, seed=self._seed, block=0).warm_up:
                for arm in arms.values():
                    mine = cast("TeamArm", arm)
                    _, status, body = mine.look(operation)
                    if status != operation.status:
                        message = f"{arm.name} answered {status}, not {operation.status}: {said(body)}"
                        self._seen.difference(operation, message)
                    else:
                        self._seen.note(arm.name, operation, status, body)
        return self._seen.differences

    def work(self, kind: str, requests: int, seed: int) -> SlotOperations:
        """Operations of one kind; a write's numbers go on from those that warm up."""
        writes = self._project.requests[kind].writes
        slot = self._requests.slot(kind, distinct=requests, requests=requests, seed=seed, block=0)
        return SlotOperations(slot.timed[: requests // 2], slot.timed[requests // 2 :]) if writes else slot

    def items(self) -> list[str]:
        """A path for each of many single things: none that the lab knows of a team's."""
        return []

    def load_values(self, arms: Collection[str]) -> str:
        """Requests drawn by the popularity of their values; those that write only where every arm may be written to."""
        entries = [self._project.arms[arm] for arm in arms]
        writable = all(entry.build or entry.may_write for entry in entries)
        kinds = {}
        for kind, request in self._project.requests.items():
            if request.weight > 0 and (writable or not request.writes) and kind != self._project.service.login:
                rng = random.Random(f"load {self._seed} {kind}")
                drawn = (self._requests.draw(kind, rng, _NUMBER) for _ in range(_DRAWN))
                kinds[kind] = {
                    "weight": request.weight, "method": request.method, "status": request.status,
                    "calls": [[_open(one.path), _open(one.body.decode()) if one.body else None] for one in drawn],
                }  # fmt: skip
        if not kinds:
            raise SettingsError(f"{self._project.path.name} names no request with a weight that these arms may be sent")
        return json.dumps({"team": kinds})

    def load_environment(self, arm: Arm) -> dict[str, str]:
        """Headers by kind of request, and the cookies of the arm's login."""
        cookies = cast("TeamArm", arm).cookies
        more = {"Cookie": cookies} if cookies else {}
        variables = {
            kind: dict(self._requests.draw(kind, random.Random(0), 0).headers) | more for kind in self._project.requests
        }
        return {"ARCHZERO_LOAD_HEADERS": json.dumps(variables)}

    def mix_counters(self, arm: Arm) -> dict[str, Any]:
        """Its Redis' hits and misses, its database's statements and their time."""
        hits, misses = arm.cache_counts()
        counters = cast("TeamArm", arm).database_counters()
        return {"hits": hits, "misses": misses, "statements": counters.statements, "database_s": counters.database_s}

    def statements(self) -> list[Statement]:
        """A team's statements are in its code: none is known beforehand."""
        return []

    def check(self, name: str, arm: Arm) -> Tried:
        """There are no checks of a team's own."""
        raise SettingsError(f"{self._project.name} has no check '{name}'")

    def hit_costs(self, arms: Mapping[str, Arm]) -> dict[str, dict[str, float]]:
        """Nothing: what a hit is, only the team knows."""
        return {}

    def use_everything(self, arms: Mapping[str, Arm]) -> None:
        """Nothing besides what was measured."""

    def tables_as_indexes(self) -> dict[str, int]:
        """None that is known."""
        return {}


def _open(text: str) -> str:
    """A text with a place for the number of each request."""
    return text.replace(str(_NUMBER), "{n}")


def same_of(request: RequestEntry) -> str:
    """What of a request's answers must be the same: what it says, else the body of a read and the status of a write."""
    return request.same or ("status" if request.writes else "body")


def cookies_of(head: bytes) -> str:
    """The cookies that an answer's head sets, as a request sends them back."""
    given = [line[len(b"set-cookie:") :] for line in head.split(b"\r\n") if line.lower().startswith(b"set-cookie:")]
    return "; ".join(line.split(b";", 1)[0].strip().decode("latin-1") for line in given)


def _numbered(url: str, number: int) -> str:
    """A database of its own on a Redis."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{number}"))
