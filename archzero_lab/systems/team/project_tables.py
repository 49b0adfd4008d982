"""The tables of a team's archzero.toml: every field, what it means, and what stands where none is given."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Reset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an arm's cache is emptied before each slot: keys of its Redis, a POST to it, or a command in its tree."""

    redis_keys: str = ""
    post: str = ""
    command: str = ""


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a build is installed (once), started, ready, prepared (once an arm) and reset. Commands run in its tree.

    `start` gets PORT, and the variables of [database] and [redis]. `ready` is a path that answers 2xx within
    `ready_s`. `reset` "redis" empties the arm's Redis, "none" leaves everything warm. `headers` go with each request;
    `login` names a request whose cookies the others send. `verify`: false, or the file of a CA, for https.
    `untouched` names a request that what the arms differ in cannot touch: the negative control of a report.
    """

    name: str = ""
    install: str = ""
    start: str = ""
    ready: str = "/"
    ready_s: float = 60.0
    prepare: str = ""
    reset: str | Reset = "redis"
    headers: dict[str, str] = {}
    environment: dict[str, str] = {}
    login: str = ""
    untouched: str = ""
    verify: bool | str = True


class Database(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The team's database, which is read and never written: each arm gets a copy, named in the arm's `variable`.

    `pool_variable` is the variable that tells the service how many connections its pool may have; `pool_metrics` are
    the samples of /metrics that count its `waits` for one and sum up how long they took (`waited_s`) and how long
    connections were kept (`held_s`).
    """

    url: str
    variable: str = "DATABASE_URL"
    pool_variable: str = ""
    pool_metrics: dict[Literal["waits", "waited_s", "held_s"], str] = {}


class RedisEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each arm gets an empty database of the lab's own Redis, named in its `variable`."""

    variable: str = "REDIS_URL"


class ArmEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One arm: a `build` (a revision, or "." for the tree as it lies here), or the `url` of one that runs already.

    `migration` is a file of SQL for the arm's own copy. `database` and `redis` are where an arm with a `url` counts;
    they are read. An arm with a `url` is sent requests that write only where it `may_write`.
    """

    build: str = ""
    migration: str = ""
    environment: dict[str, str] = {}
    url: str = ""
    database: str = ""
    redis: str = ""
    may_write: bool = False


class RequestEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of request. `same` is what the arms must answer alike: body, unordered, status, json:PATH or none.

    It is sent with `json`, with the fields of a `form` as a browser encodes them, or with a `body` as it stands.
    """

    path: str
    method: str = "GET"
    json: Any = None
    form: dict[str, str] = {}
    body: str = ""
    headers: dict[str, str] = {}
    status: int = 200
    weight: float = 1.0
    same: str = ""

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method not in ("GET", "HEAD")


class ValueSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values of a place: the first column of what `sql` gives on an arm's database, or the lines of a `file`."""

    sql: str = ""
    file: str = ""


class CounterEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A total of one's own: a number by `sql`, a `prometheus` sample of the service's /metrics, a field of Redis' INFO.

    A gain must come with less of it; where it `rises`, with more.
    """

    sql: str = ""
    prometheus: str = ""
    redis: str = ""
    rises: bool = False


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How people come: `popularity` is Zipf's exponent over the values, 0 for all alike."""

    popularity: float = 1.0
    think_time_s: float = 0.04


class Work(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is no request's: a statement or a Redis command that holds a text of `background` is the service's own.

    With a `tag` (a comment that the service puts into the statements of its requests) every statement without it is.
    """

    background: list[str] = []
    tag: str = ""
