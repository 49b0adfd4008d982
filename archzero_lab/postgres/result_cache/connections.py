"""Connections of psycopg for threads that ask the cache first and tell it of writes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from archzero_lab.postgres.result_cache.schema import EVERYTHING, WHERE
from archzero_lab.postgres.result_cache.written import NOT_HEARD, Marks, Written, is_idle, required, serve, unheard

if TYPE_CHECKING:
    from archzero_lab.postgres.result_cache.cache import ResultCache
    from archzero_lab.postgres.result_cache.questions import Question

log = logging.getLogger(__name__)
_APART_S = 0.05


class _Cursor(psycopg.Cursor[Any]):
    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Any:
        connection: Any = self.connection
        cache = connection.cache
        question: Question = cache.look(self, query, params, binary)
        stamp = b""
        if question.depends and connection.written.may_read(connection) and cache.is_asked:
            kept, stamp = connection.ask(question)
            cache.count(question, "hits" if kept is not None else "misses")
            if kept is not None:
                connection.begin_as_psycopg_does()
                serve(self, kept)
                return self
        else:
            cache.count(question, "writes" if question.touches else "bypassed")
        with connection.telling([question]):
            super().execute(query, params, prepare=prepare, binary=binary)
        if stamp and (keeping := cache.to_keep(question, stamp, self.pgresult)):
            with suppress(*NOT_HEARD):
                cache.keep(question, *keeping)
        return self

    def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        every = list(params_seq)
        connection: Any = self.connection
        with connection.telling([connection.cache.look(self, query, params, None) for params in every]):
            super().executemany(query, every, returning=returning)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **more: Any) -> Iterator[Any]:
        connection: Any = self.connection
        question = connection.cache.look(self, statement, params, None)
        with connection.telling([question]), super().copy(statement, params, **more) as copying:
            yield copying

    def stream(self, query: Any, params: Any = None, **more: Any) -> Iterator[Any]:
        connection: Any = self.connection
        with connection.telling([connection.cache.look(self, query, params, None)]):
            yield from super().stream(query, params, **more)


class _ServerCursor(psycopg.ServerCursor[Any]):
    def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
        connection: Any = self.connection
        with connection.telling([connection.cache.look(self, query, params, None)]):
            return super().execute(query, params, **more)


class CachingConnection(psycopg.Connection[Any]):
    """A psycopg.Connection that keeps results; ResultCache.connection is the class of one cache."""

    cache: ClassVar[ResultCache]

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._cursors: type = _Cursor
        super().__init__(*arguments, **more)
        self.written = Written()
        self.server_cursor_factory = _ServerCursor

    @classmethod
    def connect(cls, conninfo: str = "", **more: Any) -> Any:
        """As psycopg does; then one question says whether names mean the same there as everywhere."""
        made = super().connect(conninfo, **more)
        try:
            with psycopg.Cursor(made, row_factory=tuple_row) as cursor:
                place = cursor.execute(WHERE).fetchone()
            if not made.autocommit:
                psycopg.Connection.rollback(made)
        except BaseException:
            made.close()
            raise
        made.written.set_place(place, made.cache.where)
        return made

    @property
    def cursor_factory(self) -> type:
        """The class of its cursors: the cache's own."""
        return self._cursors

    @cursor_factory.setter
    def cursor_factory(self, given: type) -> None:
        self._cursors = required(given, _Cursor, psycopg.Cursor)

    def ask(self, question: Question) -> tuple[bytes | None, bytes]:
        """The result that is kept, or the stamp with which one may be; neither where the schema has changed."""
        try:
            kept, stamp, schema = self.cache.ask(self.cache.read_call(question))
        except NOT_HEARD:
            self.cache.rest()
            return None, b""
        if schema != self.cache.schema_version:
            self.cache.read_schema(schema)
            return None, b""
        return kept, stamp

    def begin_as_psycopg_does(self) -> None:
        """Without autocommit a statement begins a transaction, one that is answered from the cache too."""
        if not self.autocommit and self.pgconn.transaction_status == TransactionStatus.IDLE:
            with self.lock:
                self.wait(self._start_query())

    @contextmanager
    def telling(self, questions: Sequence[Question]) -> Iterator[None]:
        """Mark what statements touch before they are sent; take the marks away once all has been committed."""
        marks = self._begin(self.written.touches_of(questions))
        self.written.step_aside(questions)
        try:
            yield
        finally:
            self.written.pending += marks
            self.settle()

    def _begin(self, touches: set[str]) -> list[Marks]:
        if not touches:
            return []
        marks = [Marks(touches)]
        try:
            schema = self.cache.ask(self.cache.begin_call(marks[0]))
            if schema != self.cache.schema_version:  # what it touches was told by a schema that is no more
                marks.append(Marks((EVERYTHING,)))
                self.cache.ask(self.cache.begin_call(marks[1]))
                if schema:
                    self.cache.read_schema(schema)
        except NOT_HEARD as error:
            raise unheard(error) from None
        return marks

    def settle(self) -> None:
        """Take the marks away where nothing of this connection is left to be committed."""
        if self.closed or not is_idle(self):
            return
        self.written.aside_until_idle = False
        for marks in list(self.written.pending):
            self._end(marks)
            with suppress(ValueError):  # another thread's
                self.written.pending.remove(marks)

    def _end(self, marks: Marks) -> None:
        deadline = time.monotonic() + self.cache.longest_write_s
        while True:
            try:
                self.cache.ask(self.cache.end_call(marks))
                return
            except NOT_HEARD as error:
                # a Redis that has lost the mark may have a result from before: whoever wrote waits until it has heard
                if time.monotonic() > deadline:
                    log.error("Redis has not heard of the end of a write: %s", type(error).__name__)
                    return
                time.sleep(_APART_S)

    def commit(self) -> None:
        try:
            super().commit()
        finally:
            self.settle()

    def rollback(self) -> None:
        try:
            super().rollback()
        finally:
            self.settle()

    @contextmanager
    def transaction(self, *arguments: Any, **more: Any) -> Iterator[psycopg.Transaction]:
        try:
            with super().transaction(*arguments, **more) as made:
                yield made
        finally:
            self.settle()

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        try:
            with super().pipeline() as made:
                yield made
        finally:
            self.settle()
