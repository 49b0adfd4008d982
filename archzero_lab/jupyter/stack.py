"""The running servers as a notebook uses them: started if need be, asked by SQL, explained."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from archzero_lab.bootstrap.keep_up import bring_everything_up
from archzero_lab.errors import DatabaseError, mask_secrets, unknown_name
from archzero_lab.jupyter.plans import ShownPlan
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.nested import changes_rows
from archzero_lab.postgres.placeholders import numbered
from archzero_lab.postgres.plans import explain as explain_statement
from archzero_lab.reporting.frame import Rows
from archzero_lab.servers.stack import kept_stack, read_state, status
from archzero_lab.settings import load_settings
from archzero_lab.systems.arczero.arms import ARMS as SERVICE_ARMS
from archzero_lab.systems.arczero.portfolios import ARMS, arm_urls, choose_portfolio, held_arms, in_words

_DATABASES = {name: kind.database for name, kind in SERVICE_ARMS.items()}


@dataclass(frozen=True)
class RunningStack:
    """What is up: the service's URL, and a database URL by arm (control: no index, treatment: phase 5's, v2).

    `reused` says what was there already and what was done anew.
    """

    service_url: str
    databases: dict[str, str]
    cards: str
    reused: str = ""

    def __repr__(self) -> str:
        return f"stack: {self.service_url}, databases {', '.join(self.databases)}, {self.cards}; {self.reused}"

    def _repr_html_(self) -> str:
        rows = [("service", self.service_url), *((name, mask_secrets(url)) for name, url in self.databases.items())]
        cells = "".join(
            f"<tr><td>{html.escape(name)}</td><td style='text-align:left'>{html.escape(url)}</td></tr>"
            for name, url in rows
        )
        table = f"<p><strong>The stack is up.</strong> {html.escape(self.cards)}</p><table>{cells}</table>"
        return table + f"<p><em>{html.escape(self.reused)}</em></p>"


def stack(cards: int | None = None) -> RunningStack:
    """The servers that `./lab up` keeps, started where nothing is up. `./lab down` stops them.

    With another number of cards than they have, these are loaded anew and everything else is kept.

    lab.stack().service_url
    """
    settings = load_settings()
    before = kept_stack(settings)
    up = before is not None and bool(status(settings)["service"]["url"])
    service = (read_state() or {}).get("service") or {}
    held = held_arms(before, "up", ARMS) if before is not None else None
    same = cards is None or held == choose_portfolio(cards, 1, None, None).label
    if up and same:
        minutes = (time.time() - service.get("up_since", time.time())) / 60
        reused = f"reused: all of it, up for {minutes:.0f} min; nothing was loaded"
    else:
        began = time.monotonic()
        # other cards than those that are kept were asked for: that is to load them anew
        _, cards_in_words = bring_everything_up(settings, cards, fresh=held is not None and not same)
        kept_too = "reused: PostgreSQL and Redis, which were up; " if before is not None else ""
        reused = f"{kept_too}made now: databases with {cards_in_words}, the service ({time.monotonic() - began:.0f} s)"
    kept = kept_stack(settings)
    assert kept is not None
    labels = kept.databases()
    return RunningStack(
        status(settings)["service"]["url"], arm_urls(kept, "up"), in_words(labels.get("base", "")), reused
    )


def database_of(arm: str) -> str:
    """The database URL of an arm, the stack started if need be. Raises UnknownNameError."""
    if arm not in _DATABASES:
        raise unknown_name("arm", arm, list(_DATABASES))
    return stack().databases[_DATABASES[arm]]


def sql(
    text: str, params: Mapping[str, Any] | Sequence[Any] | None = None, *, arm: str = "treatment", url: str = ""
) -> Rows:
    """The rows of one statement as a DataFrame, in a read-only transaction of a minute at most.

    lab.sql("SELECT type, count(*) FROM cards GROUP BY type", arm="control")
    Raises DatabaseError with PostgreSQL's reason; `url` asks another database than an arm's.
    """
    try:
        with connect(url or database_of(arm)) as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = '60s'")
            # prepared, a text is one statement: none that follows can end the transaction
            cursor.execute(text, params, prepare=True)
            columns = [column.name for column in cursor.description or ()]
            return Rows(cursor.fetchall() if columns else [], columns=columns)
    except (psycopg.Error, TypeError) as error:
        raise DatabaseError(_reason(error)) from None


def explain(
    text: str,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    arm: str = "treatment",
    url: str = "",
    name: str = "",
) -> ShownPlan:
    """The plan of a statement under EXPLAIN (ANALYZE, BUFFERS, SETTINGS, WAL), rolled back afterwards.

    Explained twice, the second kept: the first pays for what was not in memory yet. On a database of your own (`url`)
    nothing can be written: the transaction is read-only, and a statement that changes rows is planned and not run.

    lab.plan_diff(lab.explain(text, arm="control"), lab.explain(text, arm="treatment"))
    Raises DatabaseError with PostgreSQL's reason.
    """
    try:
        with connect(url or database_of(arm), autocommit=True) as connection:
            connection.execute("SET statement_timeout = '60s'")
            run = not url or not changes_rows(numbered(text)[0])
            if url:
                connection.execute("SET default_transaction_read_only = on")
                connection.execute("SET lock_timeout = '5s'")
            for _ in range(2 if run else 1):
                plan = explain_statement(connection, text, params, run=run)
            return ShownPlan(plan, name or arm)
    except TypeError as error:
        raise DatabaseError(_reason(error)) from None


def cards(limit: int = 1_000, *, arm: str = "treatment") -> Rows:
    """The newest cards of an arm, a row each.

    lab.cards(100)["type"].value_counts()
    """
    return sql(
        "SELECT id::text, name, type::text, lifecycle_phase::text, quality_score, status, owner_id::text, tags,"
        " created_at, updated_at FROM cards ORDER BY created_at DESC, id DESC LIMIT %(limit)s",
        {"limit": limit},
        arm=arm,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        place = f" (at character {error.diag.statement_position})" if error.diag.statement_position else ""
        return f"PostgreSQL: {error.diag.message_primary}{place}; correct the statement and run the cell again"
    return f"{error}; give every parameter of the statement in params"
