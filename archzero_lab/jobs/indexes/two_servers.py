"""Two servers, versions or settings beside each other: one's own statements by plan, by what they read, and by time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import psycopg

from archzero_lab.errors import DatabaseError
from archzero_lab.jobs.indexes.plan_shapes import shape_of_plan
from archzero_lab.jobs.indexes.query_cases import cases_or_reasons
from archzero_lab.jobs.indexes.same_rows import (
    Answer,
    answer_of,
    digest_of,
    same_rows,
    takes_order_as_it_comes,
    without_limit,
)
from archzero_lab.jobs.indexes.session import as_asked
from archzero_lab.jobs.indexes.sides import Side, differences_of
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.generic_plans import explain_generic
from archzero_lab.postgres.nested import changes_rows
from archzero_lab.postgres.plan_diff import diff_plans
from archzero_lab.postgres.plans import Plan, parse_plan
from archzero_lab.postgres.statement import Statement
from archzero_lab.postgres.twin import TwinRow
from archzero_lab.stats.comparison import Comparison, compare
from archzero_lab.stats.verdict import Change, change

MARGIN = 0.1
"""A statement that takes a tenth more or less is as fast."""
_MORE, _FEW_BLOCKS = 1.1, 8
_SLOT_S, _MOST_CALLS = 0.03, 30
_LONGEST = "60s"
_ANY = "any values"


class _OnSecond(DatabaseError):
    """The second side does not run what the first does."""


@dataclass(frozen=True)
class Met:
    """One case on both sides. `time` None: it was planned only (a generic plan, or what changes rows).

    `itself` is the first side against itself in the same blocks: what of a ratio is noise. `other_rows` None: those
    that LIMIT lets through differ, and the whole took too long to say whether only ties do. `failed` is why the second
    does not run what the first does.
    """

    case: str
    first: Plan
    second: Plan
    time: Comparison | None = None
    itself: Comparison | None = None
    other_rows: bool | None = False
    failed: str = ""

    @property
    def turned(self) -> bool:
        """Whether the second plan is another one."""
        return shape_of_plan(self.first) != shape_of_plan(self.second)

    @property
    def work(self) -> Change:
        """What it reads: regressed where a tenth more and more than a few blocks."""
        if self.time is None:
            return Change.EQUIVALENT
        one, other = self.first.shared_blocks, self.second.shared_blocks
        if other > one * _MORE + _FEW_BLOCKS:
            return Change.REGRESSED
        return Change.IMPROVED if one > other * _MORE + _FEW_BLOCKS else Change.EQUIVALENT

    @property
    def speed(self) -> Change:
        """By its time: a difference is one that is larger than the first side's from itself may be."""
        if self.time is None or self.itself is None:
            return Change.EQUIVALENT
        verdict = change(self.time.ci_low, self.time.ci_high, MARGIN)
        noise = max(self.itself.ci_high, 1 / self.itself.ci_low) - 1
        if verdict is Change.EQUIVALENT or change(self.time.ci_low, self.time.ci_high, max(MARGIN, noise)) is verdict:
            return verdict
        return Change.INCONCLUSIVE

    @property
    def lost(self) -> bool:
        """Whether the second side is the worse one for it."""
        return bool(self.failed or self.other_rows) or Change.REGRESSED in (self.work, self.speed)

    def lines(self) -> list[str]:
        """What the plan does otherwise, a line a step, the biggest first."""
        return diff_plans(self.first, self.second).lines() if self.turned or self.work is not Change.EQUIVALENT else []


@dataclass(frozen=True)
class Beside:
    """Every case, what the two sides differ in beside that, and what could not be asked."""

    met: list[Met]
    differs: list[TwinRow]
    settings: Mapping[str, str]
    let_go: list[str]


def beside(
    first: Side,
    second: Side,
    texts: Mapping[str, str],
    *,
    blocks: int = 10,
    seed: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> Beside:
    """Ask both for every statement: plan, blocks, rows, and time in interleaved blocks. Both only read.

    Values are drawn from the first side's statistics. What changes rows is planned only. Raises DatabaseError where no
    statement is left, SettingsError for a setting that is not taken.
    """
    with _reading(first) as one, _reading(second) as other:
        cases, let_go = cases_or_reasons(one, dict(texts))
        met = _generic(one, other, cases)
        rng = random.Random(f"beside {seed}")
        for number, case in enumerate(cases):
            try:
                met.append(_meet(one, other, (first, second), case, blocks, rng))
            except _OnSecond as error:  # the first has run it: this is a loss, the greatest there is
                plan = _explain(one, case, "first", run=False)
                met.append(Met(case.name, plan, plan, failed=str(error)))
            except DatabaseError as error:
                let_go.append(str(error))
            progress((number + 1) / len(cases))
    if not met:
        raise DatabaseError(f"no statement is left: {[*let_go, 'none was given'][0]}")
    differs = differences_of(first, second)
    different = {row.what for row in differs}
    return Beside(met, differs, {k: v for k, v in second.settings.items() if k not in different}, let_go)


@contextmanager
def _reading(side: Side) -> Iterator[Connection]:
    """A session that only reads, for as long as a statement may take, with the server's own way to plan."""
    with as_asked(side.url, side.settings) as connection:
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET statement_timeout = '{_LONGEST}'")
        connection.execute("SET lock_timeout = '5s'")
        yield connection


def _generic(one: Connection, other: Connection, cases: Sequence[Statement]) -> list[Met]:
    """Of each text with parameters the plan without their values, where it is another one: the rest says nothing."""
    plans = []
    for text, name in {case.sql: case.name.rpartition(", ")[0] or case.name for case in cases if case.values}.items():
        with suppress(psycopg.Error):  # a version that cannot plan it so
            met = Met(f"{name}, {_ANY}", explain_generic(one, text), explain_generic(other, text))
            if met.turned:
                plans.append(met)
    return plans


def _meet(
    one: Connection, other: Connection, sides: tuple[Side, Side], case: Statement, blocks: int, rng: random.Random
) -> Met:
    if changes_rows(case.sql):
        return Met(case.name, _explain(one, case, "first", run=False), _explain(other, case, "second", run=False))
    answers = [_fetch(one, case, "first"), _fetch(one, case, "first")]
    first = _explain(one, case, "first")
    answers.append(_fetch(other, case, "second"))
    second = _explain(other, case, "second")
    sides_by_name = {"first": sides[0], "second": sides[1], "again": sides[0]}
    times: dict[str, list[float]] = {name: [] for name in sides_by_name}
    with _named(case, "first"):
        calls = _calls(one, case)
    for _ in range(blocks):
        for name in rng.sample(list(sides_by_name), len(sides_by_name)):
            side = "second" if name == "second" else "first"
            # a session of its own for each slot: one may be twice as fast as the next, by where its process runs
            with _reading(sides_by_name[name]) as connection, _named(case, side):
                if calls > 1:  # what a session looks up first is not the statement's; beside a long one it is nothing
                    _once(connection, case)
                times[name].append(float(np.median([_once(connection, case) for _ in range(calls)])))
    return Met(
        case.name, first, second, compare(times["first"], times["second"]), compare(times["first"], times["again"]),
        _other_rows(case, answers, one, other),
    )  # fmt: skip


def _other_rows(case: Statement, answers: Sequence[Answer], one: Connection, other: Connection) -> bool | None:
    """Whether they have other rows; of what LIMIT cuts among ties, whether the whole has, None where nobody can say."""
    first, again, second = answers
    if same_rows(first, again, second) or takes_order_as_it_comes(case.sql):
        return False
    whole = without_limit(case.sql)
    if whole is None or first.has_floats:
        return whole is None
    digest = Statement(case.name, digest_of(whole, len(case.values)), case.values)
    try:
        return _fetch(one, digest, "first").rows != _fetch(other, digest, "second").rows
    except DatabaseError:  # it may take far longer than what was asked for
        return None


def _explain(connection: Connection, case: Statement, side: str, *, run: bool = True) -> Plan:
    how = "ANALYZE, BUFFERS, VERBOSE, SETTINGS" if run else "VERBOSE, SETTINGS"
    with _named(case, side):
        row = connection.execute(
            f"EXPLAIN ({how}, FORMAT JSON) {case.sql}".encode(), case.values, prepare=False
        ).fetchone()
    assert row is not None
    return parse_plan(row[0])


def _fetch(connection: Connection, case: Statement, side: str) -> Answer:
    with _named(case, side):
        return answer_of(connection.execute(case.sql.encode(), case.values, prepare=False))


def _once(connection: Connection, case: Statement) -> float:
    began = time.perf_counter()
    connection.execute(case.sql.encode(), case.values, prepare=False)
    return time.perf_counter() - began


def _calls(connection: Connection, case: Statement) -> int:
    """Calls of a slot: as many as fill it, one of what takes longer."""
    once_s = max(_once(connection, case), 1e-6)
    return int(min(max(_SLOT_S / once_s, 1), _MOST_CALLS))


@contextmanager
def _named(case: Statement, side: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        passing = isinstance(error, (psycopg.errors.LockNotAvailable, psycopg.errors.AdminShutdown))
        failed = _OnSecond if side == "second" and error.sqlstate and not passing else DatabaseError
        raise failed(f"statement {case.name}, on the {side}: {error.diag.message_primary or error}") from None
