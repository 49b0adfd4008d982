"""Connections of psycopg for asyncio that ask the cache first and tell it of writes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg

from archzero_lab.postgres.result_cache.written import NOT_HEARD, Written, is_idle, serve, unheard

if TYPE_CHECKING:
    from archzero_lab.postgres.result_cache.cache import Question, ResultCache

log = logging.getLogger(__name__)
_APART_S = 0.05


class _AsyncCursor(psycopg.AsyncCursor[Any]):
    async def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Any:
        connection: Any = self.connection
        cache, written = connection.cache, connection.written
        question: Question = cache.look(self, query, params, binary)
        stamp = b""
        if question.depends and written.may_read(connection) and cache.is_asked:
            try:
                kept, stamp = await cache.ask_later(cache.read_call(question))
            except NOT_HEARD:
                cache.rest()
                kept = None
            cache.count(question, "hits" if kept else "misses")
            if kept:
                serve(self, kept)
                return self
        else:
            cache.count(question, "writes" if question.touches else "bypassed")
        async with connection.telling(question):
            await super().execute(query, params, prepare=prepare, binary=binary)
        if stamp and (found := cache.to_keep(question, stamp, self.pgresult)):
            with suppress(*NOT_HEARD):
                await cache.keep_later(*found)
        return self

    async def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        every = list(params_seq)
        connection: Any = self.connection
        async with connection.telling_all(self, query, every):
            await super().executemany(query, every, returning=returning)

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **more: Any) -> AsyncIterator[Any]:
        connection: Any = self.connection
        question = connection.cache.look(self, statement, params, None)
        async with connection.telling(question), super().copy(statement, params, **more) as copying:
            yield copying

    async def stream(self, query: Any, params: Any = None, **more: Any) -> AsyncIterator[Any]:
        connection: Any = self.connection
        async with connection.telling(connection.cache.look(self, query, params, None)):
            async for row in super().stream(query, params, **more):
                yield row


class AsyncCachingConnection(psycopg.AsyncConnection[Any]):
    """A psycopg.AsyncConnection that keeps results; ResultCache.async_connection is the class of one cache."""

    cache: ClassVar[ResultCache]

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.written = Written()
        self.cursor_factory = _AsyncCursor

    @asynccontextmanager
    async def telling(self, question: Question) -> AsyncIterator[None]:
        """Mark what a statement touches before it is sent; take the marks away once it has been committed."""
        await self._begin(question.touches)
        self.written.aside = self.written.aside or question.session
        try:
            yield
        finally:
            await self.settle()

    @asynccontextmanager
    async def telling_all(self, cursor: _AsyncCursor, query: Any, every: list[Any]) -> AsyncIterator[None]:
        """The same of one statement with many values."""
        for params in every:
            await self._begin(self.cache.look(cursor, query, params, None).touches)
        try:
            yield
        finally:
            await self.settle()

    async def _begin(self, touches: frozenset[str]) -> None:
        new = touches - self.written.touched
        if not new:
            return
        self.written.touched |= new
        try:
            await self.cache.ask_later(self.cache.begin_call(new, self.written.writer))
        except NOT_HEARD as error:
            raise unheard(error) from None

    async def settle(self) -> None:
        """Take the marks away where nothing of this connection is left to be committed."""
        if not self.written.touched or self.closed or not is_idle(self):
            return
        touched, self.written.touched = self.written.touched, set()
        deadline = time.monotonic() + self.cache.longest_write_s
        while True:
            try:
                await self.cache.ask_later(self.cache.end_call(touched, self.written.writer))
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
