"""What an arm of one's own can be: a callable, sync or async, an SQL statement, or a list of requests to a URL."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import psycopg

from archzero_lab.errors import DatabaseError, MeasurementError, SettingsError, mask_secrets, unknown_name
from archzero_lab.experiments.own import OwnArm
from archzero_lab.jupyter.counting import open_totals
from archzero_lab.jupyter.stack import database_of
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.plans import explain
from archzero_lab.systems.driver import Driver
from archzero_lab.systems.operations import METHODS, Operation

_MOST_PATHS, _LONGEST = 4, 400


@dataclass(frozen=True)
class Statement:
    """One way of asking: SQL with its parameters, on an arm's database, under settings of its own.

    lab.Statement("SELECT count(*) FROM cards WHERE type = %(type)s", {"type": "Risk"}, settings={"work_mem": "64MB"})
    """

    sql: str
    params: Mapping[str, Any] | Sequence[Any] | None = None
    arm: str = "treatment"
    url: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Requests:
    """Requests to a service, ours or any other: a base URL and the paths that are asked for in turn.

        lab.Requests("http://127.0.0.1:3000", ["/api/v1/cards?type=Risk"])
        lab.Requests("https://staging/base", ["/orders"], method="POST", json={"item": 1}, status=201, verify="ca.pem")

    `status` is what a right answer has; without one any 2xx is right. Redirects are answers. `verify`: the file of a
    CA, or False, for https. Answers may come packed, streamed, in chunks.

    `database` and `redis` are URLs of what stands behind it: statements, rows, blocks and commands a call are told
    beside the times then (`found.mechanism`). `reset` is called before each slot, outside of its time.
    """

    url: str
    paths: Sequence[str]
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    status: int | None = None
    verify: bool | str = True
    database: str = ""
    redis: str = ""
    reset: Callable[[], Any] | None = None


Arm = Callable[[], Any] | str | Statement | Requests


def own_arm(name: str, given: Arm) -> OwnArm:
    """What is given as something that can be called again and again. Raises SettingsError for anything else."""
    if isinstance(given, str):
        if given.startswith(("http://", "https://")):
            parts = urlsplit(given)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return _requests(name, Requests(f"{parts.scheme}://{parts.netloc}", [path]))
        return _statement(name, Statement(given))
    if isinstance(given, Statement):
        return _statement(name, given)
    if isinstance(given, Requests):
        return _requests(name, given)
    if callable(given):
        return _callable(name, given)
    raise SettingsError(
        f"{name} is a {type(given).__name__}: an arm is a callable, SQL text, lab.Statement or lab.Requests"
    )


def _statement(name: str, given: Statement) -> OwnArm:
    connection = connect(given.url or database_of(given.arm), autocommit=True)
    text = given.sql  # the user's own statement, on a connection that only reads
    try:
        connection.execute("SET default_transaction_read_only = on")
        connection.execute("SET statement_timeout = '60s'")
        for setting, value in given.settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", [setting, value])
        plan = explain(connection, text, given.params)
    except psycopg.Error as error:
        connection.close()
        raise DatabaseError(f"{name}: {error.diag.message_primary or error}") from None
    except BaseException:
        connection.close()
        raise

    def call() -> None:
        try:
            # planned each time, as for a first question: a kept plan would hide what a parameter changes
            connection.execute(text, cast("dict[str, Any]", given.params), prepare=False).fetchall()
        except psycopg.Error as error:
            raise DatabaseError(str(error.diag.message_primary or error)) from None

    described = {
        "asked": _one_line(text), "blocks": plan.shared_blocks, "indexes": ", ".join(plan.indexes) or "none",
        "execution_ms": round(plan.execution_ms, 3), **given.settings,
    }  # fmt: skip
    return OwnArm(name, call, connection.close, described)


def _requests(name: str, given: Requests) -> OwnArm:
    if isinstance(given.paths, str) or not given.paths:
        raise SettingsError(f"{name}: lab.Requests needs a list of at least one path")
    if given.method not in METHODS:
        raise unknown_name("method", given.method, list(METHODS))
    headers, body = dict(given.headers), b""
    if given.json is not None:
        body = json.dumps(given.json).encode()
        headers.setdefault("Content-Type", "application/json")
    wrong = next((path for path in given.paths if not path.startswith("/") or not path.isascii() or " " in path), None)
    if wrong is not None:
        raise SettingsError(f"{name}: path {wrong!r} must begin with / and be URL-encoded")
    operations = [
        Operation(path, path, method=given.method, headers=tuple(headers.items()), body=body) for path in given.paths
    ]
    opened = open_totals(name, given.database, given.redis)
    driver = Driver(given.url, verify=given.verify)
    number = 0

    def close() -> None:
        opened.close()
        driver.close()

    def call() -> None:
        nonlocal number
        operation = operations[number % len(operations)]
        number += 1
        _, status, body = driver.send(operation)
        if status != given.status if given.status is not None else not 200 <= status < 300:
            answer = driver.unpacked(body)[:120].decode("utf-8", "replace")
            raise MeasurementError(
                f"{given.method} {mask_secrets(given.url)}{operation.path} answered {status}"
                + (f", not {given.status}" if given.status is not None else "")
                + (f": {answer}" if answer else "")
            )

    more = f" and {len(given.paths) - _MOST_PATHS} more" if len(given.paths) > _MOST_PATHS else ""
    paths = f"{given.method} {', '.join(map(_without_query, given.paths[:_MOST_PATHS]))}{more}"
    described = {"asked": paths, "url": mask_secrets(given.url)}
    return OwnArm(name, call, close, described, opened.totals, opened.statements, given.reset or (lambda: None))


def _callable(name: str, given: Callable[[], Any]) -> OwnArm:
    described = {"asked": f"{getattr(given, '__name__', type(given).__name__)}()"}
    if not inspect.iscoroutinefunction(given):
        return OwnArm(name, given, described=described)
    loop = asyncio.new_event_loop()
    return OwnArm(name, lambda: loop.run_until_complete(given()), loop.close, described)


def _one_line(text: str) -> str:
    """A statement on one line; of a long one its beginning."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _without_query(path: str) -> str:
    """A path as it may stand in a saved notebook: what follows its ? may be a token."""
    bare, mark, _ = path.partition("?")
    return f"{bare}?…" if mark else bare
