"""Which statements a piece of work sends, by shape and call site: what shows a query in a loop (N+1).

Listens to psycopg itself, sync and async, so it sees anybody's code: no pool, ORM or service of ours is needed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from archzero_lab.postgres.sql_text import shape_of

_OWN = ("psycopg", "psycopg_pool", "archzero_lab.postgres.statement_log", "archzero_lab.postgres.pool",
        "archzero_lab.postgres.request_statements", "archzero_lab.postgres.work_budget", "contextlib",
        "sqlalchemy")  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """One statement: its shape (literals and parameters as ?) and the line that sent it; its `text` as it was given.

    `cursor`: the quoted name of the server-side cursor that it was declared for.
    """

    shape: str
    call_site: str
    text: str = field(default="", compare=False)
    cursor: str = field(default="", compare=False)


@dataclass
class StatementLog:
    """What was sent while it was listening, in order."""

    sent: list[Sent] = field(default_factory=list)
    before_each: Callable[[Any], None] | None = None
    """Told the connection that a statement is about to be sent on."""

    def __len__(self) -> int:
        return len(self.sent)

    @property
    def by_shape(self) -> Counter[str]:
        """How often each shape was sent."""
        return Counter(statement.shape for statement in self.sent)

    def repeated(self, least: int = 2) -> list[tuple[Sent, int]]:
        """Statements of one shape from one line that were sent so often or more, the most often first."""
        counted = Counter(self.sent)
        return [(statement, times) for statement, times in counted.most_common() if times >= least]


_LOGS: ContextVar[tuple[StatementLog, ...]] = ContextVar("archzero_statement_logs", default=())


@contextmanager
def record_statements(before_each: Callable[[Any], None] | None = None) -> Iterator[StatementLog]:
    """Listen to every statement that this context (a thread's or a task's) sends by psycopg; may be nested.

    `before_each` is told the connection that one is about to be sent on.

    with record_statements() as log:
        handler()
    assert len(log) <= 3, log.repeated()
    """
    _listen()
    log = StatementLog(before_each=before_each)
    token = _LOGS.set((*_LOGS.get(), log))
    try:
        yield log
    finally:
        _LOGS.reset(token)


class GrowsWithItems(AssertionError):
    """The number of statements grows with the number of items: a query in a loop."""


def assert_constant_statements(work: Callable[[int], Any], sizes: tuple[int, ...] = (1, 10, 100)) -> dict[int, int]:
    """Run `work(size)` for each size and hold that it sends no more statements for many items than for few.

    Returns statements by size. Raises GrowsWithItems naming the statement that is repeated and the line that sends it.
    """
    logs: dict[int, StatementLog] = {}
    for size in sizes:
        with record_statements() as log:
            work(size)
        logs[size] = log
    hold_constant(logs)
    return {size: len(log) for size, log in logs.items()}


def hold_constant(logs: dict[int, StatementLog]) -> None:
    """Raise GrowsWithItems where a larger number of items took more statements than the smallest."""
    least, most = min(logs), max(logs, key=lambda size: len(logs[size]))
    if len(logs[most]) <= len(logs[least]):
        return
    few = Counter(logs[least].sent)
    grown = Counter(logs[most].sent)
    statement = max(grown, key=lambda sent: grown[sent] - few[sent])
    raise GrowsWithItems(
        f"{len(logs[least])} statements for {least}, {len(logs[most])} for {most}: {grown[statement]} times "
        f"{statement.shape[:120]} from {statement.call_site}; ask once for all of them"
    )


def _note(query: Any, connection: Any, cursor: str) -> None:
    logs = _LOGS.get()
    if not logs:
        return
    if isinstance(query, sql.Composable):
        text = query.as_string(connection)
    else:
        text = query.decode("utf-8", "replace") if isinstance(query, bytes) else str(query)
    sent = Sent(shape_of(text), _call_site(), text, sql.Identifier(cursor).as_string(connection) if cursor else "")
    for log in logs:
        if log.before_each is not None:
            token = _LOGS.set(())  # what is asked meanwhile is not the code's
            try:
                log.before_each(connection)
            finally:
                _LOGS.reset(token)
        log.sent.append(sent)


def _call_site() -> str:
    frame = sys._getframe(1)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if not any(module == own or module.startswith(own + ".") for own in _OWN):
            break
        frame = frame.f_back
    code = frame.f_code
    return f"{code.co_filename.rpartition('/')[2]}:{frame.f_lineno} in {code.co_name}"


def _listen() -> None:
    """Wrap psycopg's cursors, once a process; without a log that listens they cost a look at a context variable."""
    if hasattr(psycopg.Cursor.execute, "_archzero"):
        return
    for cursor in (psycopg.Cursor, psycopg.AsyncCursor):
        for name in ("execute", "executemany", "stream", "copy"):
            setattr(cursor, name, _wrapped(getattr(cursor, name)))
    # theirs declares; rows are fetched in batches as they are asked for, which is one statement's work all the same
    psycopg.ServerCursor.execute = _wrapped(psycopg.ServerCursor.execute)  # type: ignore[method-assign]
    psycopg.AsyncServerCursor.execute = _wrapped(psycopg.AsyncServerCursor.execute)  # type: ignore[method-assign]


def _wrapped(plain: Callable[..., Any]) -> Callable[..., Any]:
    def sending(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        _note(query, self.connection, getattr(self, "name", ""))
        return plain(self, query, *arguments, **options)

    sending._archzero = True  # type: ignore[attr-defined]  # marks what is wrapped
    return sending
