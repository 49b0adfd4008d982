"""Connections of psycopg for asyncio that ask the cache first and tell it of writes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
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


class _AsyncCursor(psycopg.AsyncCursor[Any]):
    async def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Any:
        connection: Any = self.connection
        cache = connection.cache
        question: Question = cache.look(self, query, params, binary)
        stamp = b""
        if question.depends and connection.written.may_read(connection) and cache.is_asked:
            kept, stamp = await connection.ask(question)
            cache.count(question, "hits" if kept is not None else "misses")
            if kept is not None:
                await connection.begin_as_psycopg_does()
                serve(self, kept)
                return self
        else:
            cache.count(question, "writes" if question.touches else "bypassed")
        async with connection.telling([question]):
            await super().execute(query, params, prepare=prepare, binary=binary)
        if stamp and (keeping := cache.to_keep(question, stamp, self.pgresult)):
            with suppress(*NOT_HEARD):
                await cache.keep_later(question, *keeping)
        return self

    async def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        every = list(params_seq)
        connection: Any = self.connection
        async with connection.telling([connection.cache.look(self, query, params, None) for params in every]):
            await super().executemany(query, every, returning=returning)

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **more: Any) -> AsyncIterator[Any]:
        connection: Any = self.connection
        question = connection.cache.look(self, statement, params, None)
        async with connection.telling([question]), super().copy(statement, params, **more) as copying:
            yield copying

    async def stream(self, query: Any, params: Any = None, **more: Any) -> AsyncIterator[Any]:
        connection: Any = self.connection
        question = connection.cache.look(self, query, params, None)
        stream: Any = super().stream(query, params, **more)
        async with connection.telling([question]), aclosing(stream) as rows:
            async for row in rows:
                yield row


class _AsyncServerCursor(psycopg.AsyncServerCursor[Any]):
    async def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
        connection: Any = self.connection
        async with connection.telling([connection.cache.look(self, query, params, None)]):
            return await super().execute(query, params, **more)


class AsyncCachingConnection(psycopg.AsyncConnection[Any]):
    """A psycopg.AsyncConnection that keeps results; ResultCache.async_connection is the class of one cache."""

    cache: ClassVar[ResultCache]

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._cursors: type = _AsyncCursor
        super().__init__(*arguments, **more)
        self.written = Written()
        self.server_cursor_factory = _AsyncServerCursor

    @classmethod
    async def connect(cls, conninfo: str = "", **more: Any) -> Any:
        """As psycopg does; then one question says whether names mean the same there as everywhere."""
        made = await super().connect(conninfo, **more)
        try:
            async with psycopg.AsyncCursor(made, row_factory=tuple_row) as cursor:
                place = await (await cursor.execute(WHERE)).fetchone()
            if not made.autocommit:
                await psycopg.AsyncConnection.rollback(made)
        except BaseException:
            await made.close()
            raise
        made.written.set_place(place, made.cache.where)
        return made

    @property
    def cursor_factory(self) -> type:
        """The class of its cursors: the cache's own."""
        return self._cursors

    @cursor_factory.setter
    def cursor_factory(self, given: type) -> None:
        self._cursors = required(given, _AsyncCursor, psycopg.AsyncCursor)

    async def ask(self, question: Question) -> tuple[bytes | None, bytes]:
        """The result that is kept, or the stamp with which one may be; neither where the schema has changed."""
        try:
            kept, stamp, schema = await self.cache.ask_later(self.cache.read_call(question))
        except NOT_HEARD:
            self.cache.rest()
            return None, b""
        if schema != self.cache.schema_version:
            await asyncio.to_thread(self.cache.read_schema, schema)
            return None, b""
        return kept, stamp

    async def begin_as_psycopg_does(self) -> None:
        """Without autocommit a statement begins a transaction, one that is answered from the cache too."""
        if not self.autocommit and self.pgconn.transaction_status == TransactionStatus.IDLE:
            async with self.lock:
                await self.wait(self._start_query())

    @asynccontextmanager
    async def telling(self, questions: Sequence[Question]) -> AsyncIterator[None]:
        """Mark what statements touch before they are sent; take the marks away once all has been committed."""
        marks = await self._begin(self.written.touches_of(questions))
        self.written.step_aside(questions)
        try:
            yield
        finally:
            self.written.pending += marks
            await self.settle()

    async def _begin(self, touches: set[str]) -> list[Marks]:
        if not touches:
            return []
        marks = [Marks(touches)]
        try:
            schema = await self.cache.ask_later(self.cache.begin_call(marks[0]))
            if schema != self.cache.schema_version:  # what it touches was told by a schema that is no more
                marks.append(Marks((EVERYTHING,)))
                await self.cache.ask_later(self.cache.begin_call(marks[1]))
                if schema:
                    await asyncio.to_thread(self.cache.read_schema, schema)
        except NOT_HEARD as error:
            raise unheard(error) from None
        return marks

    async def settle(self) -> None:
        """Take the marks away where nothing of this connection is left to be committed."""
        if self.closed or not is_idle(self):
            return
        self.written.aside_until_idle = False
        for marks in list(self.written.pending):
            await self._end(marks)
            with suppress(ValueError):  # another task's
                self.written.pending.remove(marks)

    async def _end(self, marks: Marks) -> None:
        deadline = time.monotonic() + self.cache.longest_write_s
        while True:
            try:
                await self.cache.ask_later(self.cache.end_call(marks))
                return
            except NOT_HEARD as error:
                # a Redis that has lost the mark may have a result from before: whoever wrote waits until it has heard
                if time.monotonic() > deadline:
                    log.error("Redis has not heard of the end of a write: %s", type(error).__name__)
                    return
                await asyncio.sleep(_APART_S)

    async def commit(self) -> None:
        try:
            await super().commit()
        finally:
            await self.settle()

    async def rollback(self) -> None:
        try:
            await super().rollback()
        finally:
            await self.settle()

    @asynccontextmanager
    async def transaction(self, *arguments: Any, **more: Any) -> AsyncIterator[psycopg.AsyncTransaction]:
        try:
            async with super().transaction(*arguments, **more) as made:
                yield made
        finally:
            await self.settle()

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[psycopg.AsyncPipeline]:
        try:
            async with super().pipeline() as made:
                yield made
        finally:
            await self.settle()
