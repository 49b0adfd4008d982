"""archzero.toml of a team's repository: what its service is, its arms, requests, values, counters; read and checked."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from archzero_lab.errors import SettingsError
from archzero_lab.settings import OF_A_PROJECT
from archzero_lab.systems.operations import METHODS
from archzero_lab.systems.team.project_tables import (
    ArmEntry,
    CounterEntry,
    Database,
    Load,
    RedisEntry,
    RequestEntry,
    Reset,
    Service,
    ValueSource,
    Work,
)

PLACE = re.compile(r"\{([A-Za-z_]\w*)\}")
"""A place in a request that a value is put into; {n} is a number that no other request of the run has."""
_FILLED = re.compile(r"\$(?:\$|\{(\w+)\}|([A-Za-z_]\w*))|" + PLACE.pattern)
"""A variable of the environment, $$ for a dollar, or a place: in one pass, so that no value is read as one of them."""
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


@dataclass(frozen=True)
class Project:
    """A team's archzero.toml, read. `claims` are its tables as they stand (experiments.claim_files reads them)."""

    path: Path
    service: Service
    database: Database | None
    redis: RedisEntry | None
    arms: Mapping[str, ArmEntry]
    requests: Mapping[str, RequestEntry]
    values: Mapping[str, list[Any] | ValueSource]
    counters: Mapping[str, CounterEntry]
    load: Load
    work: Work

    @property
    def folder(self) -> Path:
        """Where it lies; paths and commands of the file are meant from here."""
        return self.path.parent

    @property
    def name(self) -> str:
        """The system's, in figures and pages."""
        return self.service.name or self.folder.name


def is_project(path: Path) -> bool:
    """Whether an archzero.toml says what a service is, beside settings of the lab. Raises SettingsError for no TOML."""
    return path.is_file() and any(name in _tables(path) for name in ("service", "arms", "requests"))


def read_project(path: Path) -> Project:
    """Read a team's archzero.toml. Raises SettingsError naming the table and the field, with those that there are."""
    tables = _tables(path)
    where = path.name

    def many(name: str, kind: type[_Struct]) -> dict[str, _Struct]:
        return {key: _converted(value, kind, f"{where}: [{name}.{key}]") for key, value in _table(tables, name).items()}

    def one(name: str, kind: type[_Struct]) -> _Struct:
        return _converted(tables.get(name, {}), kind, f"{where}: [{name}]")

    values = {name: _values(value, f"{where}: values.{name}") for name, value in _table(tables, "values").items()}
    project = Project(
        path=path,
        service=one("service", Service),
        database=one("database", Database) if "database" in tables else None,
        redis=one("redis", RedisEntry) if "redis" in tables else None,
        arms=many("arms", ArmEntry),
        requests=many("requests", RequestEntry),
        values=values,
        counters=many("counters", CounterEntry),
        load=one("load", Load),
        work=one("work", Work),
    )
    _check(project, where)
    return project


def filled(
    text: str, where: str, environ: Mapping[str, str] | None = None, drawn: Mapping[str, str] | None = None
) -> str:
    """A text with $NAME and ${NAME} put in from the environment, $$ for a dollar, and what was drawn for its places.

    Raises SettingsError for a name that is not set.
    """
    given = os.environ if environ is None else environ

    def put(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[3]:
            return (drawn or {}).get(match[3], match[0])
        name = match[1] or match[2]
        if name not in given:
            raise SettingsError(
                f"{where} names ${name}, which is not set; export it and run again ($$ stands for a dollar)"
            )
        return given[name]

    return _FILLED.sub(put, text)


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; name a file that can be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}; mend the line and run again") from None


def _table(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise SettingsError(f"[{name}] must be a table; known tables: {', '.join(OF_A_PROJECT)}")
    return table


def _converted(value: Any, kind: type[_Struct], where: str) -> _Struct:
    known = [field.name for field in msgspec.structs.fields(kind)]
    if not isinstance(value, dict):
        raise SettingsError(f"{where} must be a table with {', '.join(known)}")
    for name in value:
        if name not in known:
            raise SettingsError(f"{where} {name} is unknown; known: {', '.join(known)}")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message = str(error).replace("Object missing required", "missing the").replace("`", "")
        raise SettingsError(f"{where}: {message}; known: {', '.join(known)}") from None


def _values(value: Any, where: str) -> list[Any] | ValueSource:
    if isinstance(value, list) and value and all(isinstance(one, str | int | float) for one in value):
        return value
    if isinstance(value, dict):
        source = _converted(value, ValueSource, where)
        if bool(source.sql) != bool(source.file):
            return source
    raise SettingsError(f'{where} must be a list of values, {{ sql = "SELECT …" }} or {{ file = "…" }}')


def _check(project: Project, where: str) -> None:
    """Raise SettingsError for what contradicts itself or names what is not there."""
    for name, arm in project.arms.items():
        if bool(arm.build) == bool(arm.url):
            raise SettingsError(
                f"{where}: [arms.{name}] needs a build to start or the url of one that runs, one of both"
            )
        if arm.build and not project.service.start:
            raise SettingsError(f"{where}: [arms.{name}] is a build, and [service] start says not how one is started")
        if arm.build and (arm.database or arm.redis):
            raise SettingsError(f"{where}: [arms.{name}] is a build: its database and Redis are those that it is given")
        if arm.migration and not (arm.build and project.database):
            raise SettingsError(f"{where}: [arms.{name}] has a migration, and no copy of a [database] to run it on")
    counted = [arm.database for arm in project.arms.values() if arm.database]
    if len(set(counted)) < len(counted):
        raise SettingsError(f"{where}: two arms name one database: what each of them makes it do cannot be told apart")
    for name, request in project.requests.items():
        _check_request(project, name, request, where)
    if project.service.login and project.service.login not in project.requests:
        raise SettingsError(
            f"{where}: [service] login names no request '{project.service.login}'; known: {', '.join(project.requests)}"
        )
    untouched = project.service.untouched
    if untouched and (untouched not in project.requests or project.requests[untouched].writes):
        reads = [name for name, request in project.requests.items() if not request.writes]
        raise SettingsError(
            f"{where}: [service] untouched names no request that reads: '{untouched}'; known: {', '.join(reads)}"
        )
    reset = project.service.reset
    if isinstance(reset, str) and reset not in ("redis", "none"):
        raise SettingsError(f'{where}: [service] reset = "{reset}" is neither "redis", "none" nor a table')
    if isinstance(reset, Reset) and sum(map(bool, (reset.redis_keys, reset.post, reset.command))) != 1:
        raise SettingsError(f"{where}: [service] reset needs one of redis_keys, post and command")
    if "none" in project.counters:
        raise SettingsError(f'{where}: [counters.none]: mechanism = "none" means that there is none; name it otherwise')
    for name, counter in project.counters.items():
        if sum(map(bool, (counter.sql, counter.prometheus, counter.redis))) != 1:
            raise SettingsError(f"{where}: [counters.{name}] needs one of sql, prometheus and redis")


def _check_request(project: Project, name: str, request: RequestEntry, where: str) -> None:
    at = f"{where}: [requests.{name}]"
    if request.method not in METHODS:
        raise SettingsError(f"{at} method = '{request.method}' is unknown; known: {', '.join(METHODS)}")
    if not request.path.startswith("/") or not request.path.isascii() or " " in request.path:
        raise SettingsError(f"{at} path {request.path!r} must begin with / and be URL-encoded")
    has = {"json": request.json is not None, "form": bool(request.form), "body": bool(request.body)}
    given = [name for name, is_there in has.items() if is_there]
    if len(given) > 1:
        raise SettingsError(f"{at} has {' and '.join(given)}: give one of them")
    if request.same not in ("", "body", "unordered", "status", "none") and not request.same.startswith("json:"):
        raise SettingsError(f"{at} same = '{request.same}' is unknown; known: body, unordered, status, none, json:PATH")
    if request.weight < 0:
        raise SettingsError(f"{at} weight must be 0 or more")
    for place in places(request, login=name == project.service.login):
        if place != "n" and place not in project.values:
            known = ", ".join([*project.values, "n"])
            raise SettingsError(f"{at} has a place {{{place}}} and [values] no list of that name; known: {known}")


def places(request: RequestEntry, *, login: bool = False) -> list[str]:
    """The places of a request, each once; in headers, and in what a login sends, ${NAME} is none."""
    body = body_texts(request)
    plain = (request.path,) if login else (request.path, *body)
    names = [place for text in plain for place in PLACE.findall(text)]
    for text in (*request.headers.values(), *(body if login else ())):
        names += [match[3] for match in _FILLED.finditer(text) if match[3]]
    return list(dict.fromkeys(names))


def body_texts(request: RequestEntry) -> list[str]:
    """What a request sends in its body, text by text."""
    return [request.body, *request.form.values(), *_strings(request.json)]


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _strings(part)]
