"""Connections of psycopg for threads that ask the cache first and tell it of writes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg

from archzero_lab.postgres.result_cache.written import NOT_HEARD, Written, is_idle, serve, unheard

if TYPE_CHECKING:
    from archzero_lab.postgres.result_cache.cache import Question, ResultCache

log = logging.getLogger(__name__)
_APART_S = 0.05


class _Cursor(psycopg.Cursor[Any]):
    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Any:
        connection: Any = self.connection
        cache, written = connection.cache, connection.written
        question: Question = cache.look(self, query, params, binary)
        stamp = b""
        if question.depends and written.may_read(connection) and cache.is_asked:
            try:
                kept, stamp = cache.ask(cache.read_call(question))
            except NOT_HEARD:
                cache.rest()
                kept = None
            cache.count(question, "hits" if kept else "misses")
            if kept:
                serve(self, kept)
                return self
        else:
            cache.count(question, "writes" if question.touches else "bypassed")
        with connection.telling(question):
            super().execute(query, params, prepare=prepare, binary=binary)
        if stamp and (found := cache.to_keep(question, stamp, self.pgresult)):
            with suppress(*NOT_HEARD):
                cache.keep(*found)
        return self

    def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        every = list(params_seq)
        connection: Any = self.connection
        with connection.telling_all(self, query, every):
            super().executemany(query, every, returning=returning)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **more: Any) -> Iterator[Any]:
        connection: Any = self.connection
        question = connection.cache.look(self, statement, params, None)
        with connection.telling(question), super().copy(statement, params, **more) as copying:
            yield copying

    def stream(self, query: Any, params: Any = None, **more: Any) -> Iterator[Any]:
        connection: Any = self.connection
        with connection.telling(connection.cache.look(self, query, params, None)):
            yield from super().stream(query, params, **more)


class CachingConnection(psycopg.Connection[Any]):
    """A psycopg.Connection that keeps results; ResultCache.connection is the class of one cache."""

    cache: ClassVar[ResultCache]

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.written = Written()
        self.cursor_factory = _Cursor

    @contextmanager
    def telling(self, question: Question) -> Iterator[None]:
        """Mark what a statement touches before it is sent; take the marks away once it has been committed."""
        self._begin(question.touches)
        self.written.aside = self.written.aside or question.session
        try:
            yield
        finally:
            self.settle()

    @contextmanager
    def telling_all(self, cursor: _Cursor, query: Any, every: list[Any]) -> Iterator[None]:
        """The same of one statement with many values."""
        for params in every:
            self._begin(self.cache.look(cursor, query, params, None).touches)
        try:
            yield
        finally:
            self.settle()

    def _begin(self, touches: frozenset[str]) -> None:
        new = touches - self.written.touched
        if not new:
            return
        self.written.touched |= new
        try:
            self.cache.ask(self.cache.begin_call(new, self.written.writer))
        except NOT_HEARD as error:
            raise unheard(error) from None

    def settle(self) -> None:
        """Take the marks away where nothing of this connection is left to be committed."""
        if not self.written.touched or self.closed or not is_idle(self):
            return
        touched, self.written.touched = self.written.touched, set()
        deadline = time.monotonic() + self.cache.longest_write_s
        while True:
            try:
                self.cache.ask(self.cache.end_call(touched, self.written.writer))
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
