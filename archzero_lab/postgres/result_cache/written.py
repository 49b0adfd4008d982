"""What both kinds of connection have in common: what one has written, and how a cursor is given a kept result."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import Format, PipelineStatus, TransactionStatus
from redis.exceptions import RedisError

from archzero_lab.errors import ServerError, SettingsError
from archzero_lab.postgres.result_cache.records import KeptResult, decode
from archzero_lab.postgres.result_cache.schema import EVERYTHING

if TYPE_CHECKING:
    from archzero_lab.postgres.result_cache.questions import Question

NOT_HEARD = (RedisError, OSError)


class Marks:
    """The marks of one statement: a writer of its own, so that no other statement's end is theirs."""

    def __init__(self, touches: Collection[str]) -> None:
        self.writer = uuid.uuid4().hex[:16]
        self.touches = sorted(touches)


class Written:
    """The marks of statements whose transaction has not ended, and whether a connection is still like any other.

    `elsewhere`: names mean other tables there, or it is another database; what it writes is not known.
    """

    def __init__(self) -> None:
        self.pending: list[Marks] = []
        self.aside = False
        self.aside_until_idle = False
        self.elsewhere = False

    def may_read(self, connection: Any) -> bool:
        """Whether a result that was kept is what PostgreSQL would answer on this connection now.

        (After a write of its own Redis would say no as well: what it touched is marked.)
        """
        if self.aside or self.aside_until_idle or self.pending or connection.closed:
            return False
        isolation = connection.isolation_level
        return (
            isolation in (None, psycopg.IsolationLevel.READ_COMMITTED)
            and connection.pgconn.pipeline_status == PipelineStatus.OFF
            and connection.pgconn.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS)
        )

    def touches_of(self, questions: Sequence[Question]) -> set[str]:
        """What statements touch, all of it where nobody knows on this connection."""
        touches = {name for question in questions for name in question.touches}
        return {*touches, EVERYTHING} if touches and self.elsewhere else touches

    def step_aside(self, questions: Sequence[Question]) -> None:
        """After a statement that may have made this connection another one than the others."""
        self.aside = self.aside or any(question.session for question in questions)
        self.aside_until_idle = self.aside_until_idle or any(question.transaction for question in questions)

    def set_place(self, place: tuple[Any, ...] | None, expected: tuple[Any, ...]) -> None:
        """Compare what schema.WHERE told of a connection with what the cache knows."""
        self.elsewhere = place is None or tuple(place) != expected
        self.aside = self.aside or self.elsewhere


class _KeptRows:
    """Stands where a cursor has its Transformer: rows that were kept, loaded as this cursor would load them."""

    def __init__(self, cursor: Any, result: KeptResult) -> None:
        self._cursor, self._result = cursor, result
        self._load()

    def _load(self) -> None:
        self._loading = Transformer(self._cursor)
        types = [column.type for column in self._result.columns]
        self._loading.set_loader_types(types, Format(self._result.format))

    def set_pgresult(self, result: Any, *, set_loaders: bool = True, format: Any = None) -> None:
        """Loaders may have changed since; the result is the one that there is."""
        self._load()

    def load_row(self, row: int, make_row: Any) -> Any:
        """One row."""
        return make_row(self._loading.load_sequence(self._result.rows[row]))

    def load_rows(self, row: int, end: int, make_row: Any) -> list[Any]:
        """Rows from one to before another."""
        return [self.load_row(at, make_row) for at in range(row, end)]


def serve(cursor: Any, kept: bytes) -> None:
    """Let a cursor have a result that was kept as if it had executed its statement."""
    if cursor.closed:
        raise psycopg.InterfaceError("the cursor is closed")
    result = decode(kept)
    cursor._reset()
    cursor._last_query = None  # the next statement makes a Transformer of its own
    cursor._tx = _KeptRows(cursor, result)
    cursor.pgresult, cursor._rowcount = result, result.ntuples
    cursor._results = [result]
    cursor._statusmessage = result.command_status
    cursor._make_row = cursor._make_row_maker()


def is_idle(connection: Any) -> bool:
    """Whether all that it wrote has been committed or rolled back, and PostgreSQL has said so."""
    pgconn = connection.pgconn
    return bool(pgconn.transaction_status == TransactionStatus.IDLE and pgconn.pipeline_status == PipelineStatus.OFF)


def required(given: type, ours: type, plain: type) -> type:
    """The class of cursors of a connection. Raises SettingsError for one by which the cache would hear of nothing."""
    if given is plain or issubclass(given, ours):
        return given if issubclass(given, ours) else ours
    raise SettingsError(
        f"a connection of the result cache has cursors of its own: {given.__name__} would write without its knowledge"
    )


def unheard(error: Exception) -> ServerError:
    """What a write is refused with."""
    return ServerError(
        f"Redis did not hear of a write before it was sent ({type(error).__name__}), so nothing was written: a result"
        " that it changes could have been served afterwards; try again"
    )
