"""Count the work of every kind of request: one client, a known state, a seeded order, so the same on any machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low

import psycopg

from archzero_lab.errors import LabError, unknown_name
from archzero_lab.jobs.work.counted import (
    Counted,
    CountedCommand,
    CountedKind,
    CountedPass,
    CountedStatement,
    drawn_mark,
    plan_mark,
    statement_mark,
)
from archzero_lab.jobs.work.looks import Looks, RequestWork
from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.postgres.generic_plans import explain_generic
from archzero_lab.postgres.plan_log import plan_shape
from archzero_lab.postgres.sql_text import shape_of, shortened
from archzero_lab.postgres.statement_work import StatementName, StatementWork
from archzero_lab.postgres.whole_statistics import analyze_whole
from archzero_lab.progress import QUIET
from archzero_lab.servers.counting_stack import CountingStack, pin_database
from archzero_lab.systems.arms import Arm, Opening
from archzero_lab.systems.system import Loading, Prepared, Rows, System

REQUESTS = 20
_SHOWN, _INNER = 48, 24
"""Letters of a statement in the file: it stays a few kB, and the mark is what is compared."""


@dataclass(frozen=True)
class WorkRequest:
    """What is counted: an arm of a system, `size` rows by a seed, so many requests a kind; `only` of some kinds;
    of a database of somebody's own a `sample` of so many rows of each table.

    `code` is another build of the service.
    """

    arm: str
    size: int
    seed: int = 1
    requests: int = REQUESTS
    only: tuple[str, ...] = ()
    sample: int = 0
    reads_only: bool = False
    code: Path | None = None


def count_work(
    system: System, counting: CountingStack, request: WorkRequest, *, loading: Loading = QUIET,
    progress: Callable[[float], None] = lambda share: None,
) -> Counted:  # fmt: skip
    """Prepare the arm's database, ask every kind of request, tell what it made PostgreSQL and Redis do.

    Raises LabError for a kind that is not known, MeasurementError for a wrong answer.
    """
    kinds = system.countable.kinds
    for name in request.only:
        if name not in kinds:
            raise unknown_name("kind of request", name, list(kinds))
    wanted = [kind for kind in kinds if not request.only or kind in request.only]
    chosen = [kind for kind in wanted if not (request.reads_only and kinds[kind])]
    rows = Rows(request.size, request.seed, sample=request.sample)
    settings = counting.stack.settings
    stack = replace(
        counting.stack, settings=replace(settings, cache=replace(settings.cache, **dict(system.countable.cache)))
    )
    counted: dict[str, CountedKind] = {}
    with (
        system.prepare(stack, rows, "work", [request.arm], loading) as prepared,
        _connect(prepared, system, request.arm) as connection,
    ):
        tables = analyze_whole(connection)
        pin_database(connection)
        version = connection.info.server_version // 10_000
        with (
            prepared.arms(Opening(request.arm, code=request.code)) as arms,
            closing(Looks(counting, connection, arms[request.arm].process, system.countable)) as looks,
        ):
            for kind in (kind for kind in chosen if not kinds[kind]):
                # what a service does when it is young (a cache that it does not trust yet, a pool that grows) is over
                for operation in prepared.work(kind, request.requests, request.seed).warm_up:
                    looks.warm(arms[request.arm], operation)
            for number, kind in enumerate(chosen):
                counted[kind] = _kind(system, prepared, arms[request.arm], looks, connection, kind, request)
                progress((number + 1) / len(chosen))
    return Counted(
        system.name,
        request.arm,
        request.size,
        request.seed,
        request.requests,
        version,
        tables,
        counted,
        only=list(request.only),
        background=sorted(looks.background),
        to_vacuum=dict(prepared.facts.get("to_vacuum", {}).get(request.arm, {})),
    )


def _connect(prepared: Prepared, system: System, arm: str) -> Connection:
    url = prepared.urls.get(system.arms[arm].database)
    if url is None:
        raise LabError(
            f"arm {arm} has no copy of a database that work could be counted on: it wants a build and [database]"
        )
    return connect(url, autocommit=True)


def _kind(
    system: System, prepared: Prepared, arm: Arm, looks: Looks, connection: Connection, kind: str, request: WorkRequest
) -> CountedKind:
    operations = prepared.work(kind, request.requests, request.seed)
    exact = kind in system.countable.exact_bytes
    for operation in operations.warm_up:
        looks.warm(arm, operation)
    if system.countable.kinds[kind]:
        looks.begin()
        counted = [looks.ask(arm, operation) for operation in operations.timed]
        typical = _typical(counted)
        _shorten(typical)
        return CountedKind(len(counted), typical, writes=True, drawn=drawn_mark(operations.timed))
    asked_once = list(dict.fromkeys(operations.timed))
    arm.reset()
    looks.begin()
    first = _summed([looks.ask(arm, operation) for operation in asked_once], exact)
    again = _summed([looks.ask(arm, operation) for operation in asked_once], exact)
    _add_generic(first, connection)
    _add_generic(again, connection)
    _shorten(first)
    _shorten(again)
    drawn = drawn_mark(asked_once)
    return CountedKind(len(asked_once), first, again=None if again == first else again, drawn=drawn)


def _summed(counted: Sequence[RequestWork], exact: bool) -> CountedPass:
    """What requests came to together."""
    statements: dict[StatementName, StatementWork] = {}
    redis: dict[str, CountedCommand] = {}
    wal: Counter[str] = Counter()
    for one in counted:
        for name, work in one.statements.items():
            statements[name] = statements.get(name, StatementWork()) + work
        for command, keys, sent, answered in one.commands:
            before = redis.get(command, CountedCommand(0))
            redis[command] = CountedCommand(
                before.calls + 1, before.keys + keys, before.sent + sent, before.answered + answered
            )
        wal.update(one.wal.records)
    return CountedPass(
        bytes=sum(one.bytes for one in counted) if exact else None,
        statements=_named(statements, _plans(counted)),
        redis=dict(sorted(redis.items())),
        wal=dict(sorted(wal.items())),
        wal_bytes=sum(one.wal.bytes for one in counted),
    )


def _typical(counted: Sequence[RequestWork]) -> CountedPass:
    """The median request by each counter."""
    alone = [_summed([one], exact=False) for one in counted]

    def middle(values: Iterable[int]) -> int:
        return median_low(list(values))

    statements: dict[str, CountedStatement] = {}
    for mark in dict.fromkeys(mark for one in alone for mark in one.statements):
        have = [one.statements[mark] for one in alone if mark in one.statements]
        zeros = [0] * (len(alone) - len(have))
        calls = middle([*(one.calls for one in have), *zeros])
        if not calls and not have[0].inner:  # a few of the requests send it, or one in a loop
            statements[mark] = CountedStatement(have[0].sql, 0, seldom=sum(one.calls for one in have))
        elif calls:
            commonest = Counter(plan for one in have for plan in one.plans).most_common()
            most = max((number for _, number in commonest), default=0)
            plan = min((shape for shape, number in commonest if number == most), default="")
            statements[mark] = CountedStatement(
                have[0].sql, calls, middle([*(one.rows for one in have), *zeros]),
                middle([*(one.blocks for one in have), *zeros]), middle([*(one.temporary for one in have), *zeros]),
                have[0].inner, {plan: calls} if plan else {},
            )  # fmt: skip
    redis: dict[str, CountedCommand] = {}
    for name in sorted({name for one in alone for name in one.redis}):
        every = [one.redis.get(name, CountedCommand(0)) for one in alone]
        calls = middle(one.calls for one in every)
        if calls:
            redis[name] = CountedCommand(
                calls, middle(one.keys for one in every), middle(one.sent for one in every),
                middle(one.answered for one in every),
            )  # fmt: skip
    wal = {
        kind: middle(one.wal.get(kind, 0) for one in alone) for kind in sorted({k for one in alone for k in one.wal})
    }
    return CountedPass(
        statements=statements, redis=redis, wal={kind: number for kind, number in wal.items() if number},
        wal_bytes=middle(one.wal_bytes for one in alone),
    )  # fmt: skip


def _plans(counted: Sequence[RequestWork]) -> dict[str, Counter[str]]:
    plans: dict[str, Counter[str]] = {}
    for one in counted:
        for mark, shapes in one.plans.items():
            plans.setdefault(mark, Counter()).update(shapes)
    return plans


def _named(
    statements: dict[StatementName, StatementWork], plans: dict[str, Counter[str]]
) -> dict[str, CountedStatement]:
    """By a mark; two texts of one statement, which PostgreSQL counts apart, are one."""
    named: dict[str, CountedStatement] = {}
    for name, work in statements.items():
        mark = statement_mark(name.mark) + (" inner" if name.inner else "")
        before = named.get(mark, CountedStatement(name.text, 0))
        if name.inner:  # what it reads is in the blocks of the one that ran it
            text = min(before.sql, name.text)
            named[mark] = CountedStatement(text, before.calls + work.calls, inner=True)
            continue
        named[mark] = CountedStatement(
            min(before.sql, name.text), before.calls + work.calls, before.rows + work.rows,
            before.blocks + work.blocks, before.temporary + work.temporary,
            plans=dict(sorted(plans.get(name.mark, {}).items())),
        )  # fmt: skip
    return dict(sorted(named.items()))


def _add_generic(counted: CountedPass, connection: Connection) -> None:
    """The plan that a statement gets for any values, where it is not one that was run."""
    for statement in counted.statements.values():
        if statement.inner or not statement.plans:
            continue
        try:
            shape = plan_shape(explain_generic(connection, statement.sql))
        except psycopg.Error:  # a constant where PREPARE takes no parameter
            continue
        if shape not in statement.plans:
            statement.generic = plan_mark(shape)


def _shorten(counted: CountedPass) -> None:
    """Texts as a reader knows them again by, their beginning and their condition; the mark is what is compared.

    Literals go: PostgreSQL leaves those of COPY or ALTER ROLE as they were sent, and the text ends in a file.
    """
    for statement in counted.statements.values():
        statement.sql = shortened(shape_of(statement.sql), _INNER if statement.inner else _SHOWN)
