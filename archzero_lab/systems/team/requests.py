"""A team's requests made of its file: values drawn by Zipf's law from a seed, the same for every arm of a block."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg

from archzero_lab.errors import DatabaseError, SettingsError
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.insights import reading
from archzero_lab.systems.operations import Operation, SlotOperations
from archzero_lab.systems.team.project_file import PLACE, Project, filled, places
from archzero_lab.systems.team.project_tables import RequestEntry, ValueSource

_NUMBERS_A_BLOCK = 1_000_000
_MOST_VALUES = 100_000


def read_values(project: Project, database_url: str) -> dict[str, list[str]]:
    """The values of every list, as text. Raises SettingsError or DatabaseError for a list that comes to nothing.

    SQL is asked on `database_url`, in a transaction that only reads.
    """
    return {name: _read(project, name, given, database_url) for name, given in project.values.items()}


def _read(project: Project, name: str, given: list[Any] | ValueSource, database_url: str) -> list[str]:
    at = f"{project.path.name}: values.{name}"
    if isinstance(given, list):
        return [str(value) for value in given]
    if given.file:
        values = _lines(project.folder / given.file, at)
    elif not database_url:
        raise SettingsError(f"{at} is asked by SQL, and there is no [database] to ask")
    else:
        values = _asked(given.sql, database_url, at)
    if not values:
        raise SettingsError(f"{at} came to no value: {given.sql or given.file}")
    return values[:_MOST_VALUES]


def _lines(path: Path, at: str) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{at}: {path} cannot be read ({error}); name a file of UTF-8 text") from None


def _asked(text: str, database_url: str, at: str) -> list[str]:
    with connect(database_url, autocommit=True) as connection:
        try:
            with reading(connection):
                # the team's own text, one statement of it: the extended protocol takes no second
                rows = connection.execute(text.encode(), prepare=True).fetchmany(_MOST_VALUES)
        except (psycopg.Error, psycopg.ProgrammingError) as error:
            raise DatabaseError(f"{at}: {error.diag.message_primary or error}") from None
    return [str(row[0]) for row in rows if row[0] is not None]


class Requests:
    """Makes operations of a project's requests."""

    def __init__(self, project: Project, values: Mapping[str, Sequence[str]]) -> None:
        self._project = project
        self._values = values
        where = f"{project.path.name}: [service] headers"
        self._headers = {name: filled(value, where) for name, value in project.service.headers.items()}
        self._weights = {
            name: [(rank + 1) ** -project.load.popularity for rank in range(len(known))]
            for name, known in values.items()
        }

    def slot(
        self, kind: str, *, distinct: int, requests: int, seed: int, block: int, paths: Sequence[str] = ()
    ) -> SlotOperations:
        """The operations of one block. What writes is new each time; of reads every distinct one comes equally often.

        `paths` are a claim's own, for the kind "requests".
        """
        rng = random.Random(f"{kind} {seed} {block}")
        if paths:
            own = [self._finished(kind, RequestEntry(path), path, {}) for path in paths]
            timed = [own[number % len(own)] for number in range(requests)]
        elif self._project.requests[kind].writes:
            first = block * _NUMBERS_A_BLOCK
            own = [self.draw(kind, rng, first + number) for number in range(2)]
            return SlotOperations(own, [self.draw(kind, rng, first + 2 + number) for number in range(requests)])
        else:
            drawn = (self.draw(kind, rng, block * _NUMBERS_A_BLOCK + number) for number in range(distinct * 8))
            own = list(dict.fromkeys(drawn))[:distinct]
            timed = [own[number % len(own)] for number in range(requests)]
        rng.shuffle(timed)
        return SlotOperations(own, timed)

    def draw(self, kind: str, rng: random.Random, number: int) -> Operation:
        """One operation of a kind, its values drawn."""
        request = self._project.requests[kind]
        drawn = {
            place: str(number) if place == "n" else rng.choices(self._values[place], self._weights[place])[0]
            for place in places(request, login=kind == self._project.service.login)
        }
        return self._finished(
            kind, request, _put(request.path, {k: quote(v, safe="") for k, v in drawn.items()}), drawn
        )

    def _finished(self, kind: str, request: RequestEntry, path: str, drawn: Mapping[str, str]) -> Operation:
        where = f"{self._project.path.name}: [requests.{kind}]"
        headers = self._headers | {name: filled(v, where, drawn=drawn) for name, v in request.headers.items()}
        # a password is nothing to write into a file; what other requests send is left as it stands
        login = kind == self._project.service.login

        def text(given: str) -> str:
            return filled(given, where, drawn=drawn) if login else _put(given, drawn)

        body = text(request.body).encode()
        if request.form:
            body = urlencode({name: text(value) for name, value in request.form.items()}).encode()
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        elif request.json is not None:
            body = json.dumps(_in_json(request.json, drawn, text)).encode()
            headers.setdefault("Content-Type", "application/json")
        return Operation(
            path, kind, method=request.method, headers=tuple(headers.items()), body=body, status=request.status
        )


def _put(text: str, drawn: Mapping[str, str]) -> str:
    return PLACE.sub(lambda match: drawn.get(match[1], match[0]), text)


def _in_json(value: Any, drawn: Mapping[str, str], text: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        # a text that is nothing but a place is what was drawn: a number stays one
        whole = PLACE.fullmatch(value)
        if whole and whole[1] in drawn and drawn[whole[1]].lstrip("-").isdigit():
            return int(drawn[whole[1]])
        return text(value)
    if isinstance(value, dict):
        return {key: _in_json(part, drawn, text) for key, part in value.items()}
    return [_in_json(part, drawn, text) for part in value] if isinstance(value, list) else value
