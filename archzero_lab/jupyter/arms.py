"""What an arm of one's own can be: a callable, sync or async, an SQL statement, or a list of requests to a URL."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg

from archzero_lab.errors import DatabaseError, MeasurementError, SettingsError, mask_secrets
from archzero_lab.experiments.own import OwnArm
from archzero_lab.jupyter.stack import database_of
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.plans import explain
from archzero_lab.systems.driver import Driver


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
    """

    url: str
    paths: Sequence[str]


Arm = Callable[[], Any] | str | Statement | Requests


def own_arm(name: str, given: Arm) -> OwnArm:
    """What is given as something that can be called again and again. Raises SettingsError for anything else."""
    if isinstance(given, str):
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
        "blocks": plan.shared_blocks, "indexes": ", ".join(plan.indexes) or "none",
        "execution_ms": round(plan.execution_ms, 3), **given.settings,
    }  # fmt: skip
    return OwnArm(name, call, connection.close, described)


def _requests(name: str, given: Requests) -> OwnArm:
    if not given.paths:
        raise SettingsError(f"{name}: lab.Requests needs at least one path")
    driver = Driver(given.url)
    asked = 0

    def call() -> None:
        nonlocal asked
        path = given.paths[asked % len(given.paths)]
        asked += 1
        _, status, _ = driver.get(path)
        if not 200 <= status < 300:
            raise MeasurementError(f"GET {given.url}{path} answered {status}")

    return OwnArm(name, call, driver.close, {"url": mask_secrets(given.url), "paths": len(given.paths)})


def _callable(name: str, given: Callable[[], Any]) -> OwnArm:
    described = {"callable": getattr(given, "__name__", type(given).__name__)}
    if not inspect.iscoroutinefunction(given):
        return OwnArm(name, given, described=described)
    loop = asyncio.new_event_loop()
    return OwnArm(name, lambda: loop.run_until_complete(given()), loop.close, described)
