"""ResultCache: which statements are kept under which key, what they depend on, and the connections that use it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

import psycopg
import redis
import redis.asyncio
from psycopg import AsyncCursor, Cursor
from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from archzero_lab.errors import DatabaseError, ServerError, SettingsError
from archzero_lab.postgres.result_cache.async_connections import AsyncCachingConnection
from archzero_lab.postgres.result_cache.connections import CachingConnection
from archzero_lab.postgres.result_cache.effects import Effects, known_effects, resolve_views
from archzero_lab.postgres.result_cache.protocol import BEGIN, END, KEEP, READ
from archzero_lab.postgres.result_cache.questions import (
    ROW,
    Question,
    as_bytes,
    called,
    digest_of,
    in_order,
    is_moment,
    new_version,
    rows_last,
)
from archzero_lab.postgres.result_cache.records import encode
from archzero_lab.postgres.result_cache.schema import EVERYTHING, SCHEMA, read_schema
from archzero_lab.postgres.result_cache.written import NOT_HEARD, Marks

_REST_S = 1.0
_SETTINGS = (b"TimeZone", b"DateStyle", b"IntervalStyle", b"client_encoding", b"search_path", b"session_authorization")


class ResultCache:
    """Keeps results of statements in one Redis, for every process that uses the same `namespace`.

    `connection` and `async_connection` are classes for psycopg (connection_class of a pool, or `.connect`). Results
    live `ttl_s` seconds at most; one of more than `largest_bytes` is not kept. `longest_write_s`: how long what a
    writer touched stays unkept where it dies, and is to be longer than a transaction takes. `trigger_writes` says of a
    table ("public.orders") which tables its triggers write; of one that has triggers and is not named there each write
    drops everything. `counts` has hits, misses, bypassed statements, writes, reloads and needless reloads of this
    process; `observe` is told of each as it comes. A reload is a result in place of one that a write made invalid, a
    needless one is the very same again.

    Raises DatabaseError where the schema cannot be read, ServerError where Redis does not answer or may not run
    scripts, SettingsError for a Redis that restores an older state after a restart, a table in `trigger_writes` that is
    not there, or a default isolation other than "read committed".
    """

    def __init__(
        self, database_url: str, redis_url: str, namespace: str, *,
        ttl_s: float = 300.0, longest_write_s: float = 60.0,
        largest_bytes: int = 2_000_000, trigger_writes: Mapping[str, Collection[str]] | None = None,
        observe: Callable[[Question, str], None] | None = None,
    ) -> None:  # fmt: skip
        if "decode_responses" in parse_qs(urlsplit(redis_url).query):
            raise SettingsError("the result cache keeps bytes: leave decode_responses out of its Redis URL")
        self._database_url, self._trigger_writes = database_url, dict(trigger_writes or {})
        self._namespace, self._largest = namespace, largest_bytes
        self._ttl_ms, self._mark_ms = int(ttl_s * 1000), int(longest_write_s * 1000)
        self.longest_write_s, self._rests_until = longest_write_s, 0.0
        self._redis_url = redis_url
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0)
        )
        self._asking: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = WeakKeyDictionary()
        self.counts: Counter[str] = Counter()
        self._observe = observe
        self._require_forgetful()
        try:
            _, _, version = self.ask(self.read_call(Question("trial", (SCHEMA,))))
        except NOT_HEARD as error:
            raise ServerError(f"the result cache's Redis runs no script of it: {error}") from None
        self.read_schema(version)
        self.connection = type("CachingConnection", (CachingConnection,), {"cache": self})
        self.async_connection = type("AsyncCachingConnection", (AsyncCachingConnection,), {"cache": self})

    def read_schema(self, version: bytes | None = None) -> None:
        """Read tables, keys, views, triggers and functions anew: after a change that no connection of a cache made."""
        try:
            with psycopg.connect(self._database_url, autocommit=True) as connection:
                schema = read_schema(connection, self._trigger_writes)
        except psycopg.Error as error:
            raise DatabaseError(f"the result cache cannot read the schema: {error}") from None
        _, isolation, _, is_replica = schema.where
        if isolation != "read committed" or is_replica:
            raise SettingsError(
                f"results are kept of a primary whose default_transaction_isolation is read committed; here it is "
                f"{isolation}{', on a replica' if is_replica else ''}"
            )
        resolve_views(schema)
        self._schema = schema
        if version is not None:
            self.schema_version = version

    @property
    def where(self) -> tuple[Any, ...]:
        """What schema.WHERE tells on each connection that is like the others."""
        return self._schema.where

    def _require_forgetful(self) -> None:
        try:
            kept = {name: self._redis.config_get(name).get(name) for name in ("save", "appendonly")}
        except redis.ResponseError:
            return  # CONFIG is not given to everybody: docs/result-cache.md says what to look for
        except NOT_HEARD as error:
            raise ServerError(f"the result cache's Redis does not answer: {error}") from None
        if kept["save"] or kept["appendonly"] == "yes":
            raise SettingsError(
                "this Redis restores an older state after a restart, with results that hold no more: give the result"
                ' cache one with save "" and appendonly no'
            )

    def look(self, cursor: Cursor[Any] | AsyncCursor[Any], query: Any, params: Any, binary: bool | None) -> Question:
        """What a statement is to the cache; it is asked nothing yet. Raises what psycopg raises for its parameters."""
        sent = PostgresQuery(Transformer(cursor))
        sent.convert(query, params)
        effects = known_effects(sent.query.decode("utf-8", "replace"), self._schema)
        values = in_order(params, sent._order)
        if effects.changes:
            touches = frozenset(self._touched(effects, values))
            return Question(touches=touches, session=effects.session, transaction=effects.transaction)
        if not effects.cacheable or any(is_moment(value) for value in values):
            return Question(session=effects.session, transaction=effects.transaction)
        row = called(effects.row, values)
        depends = (f"a:{row[0]}", f"{ROW}{row[0]}:{row[1]}") if row else sorted(f"t:{one}" for one in effects.reads)
        pgconn = cursor.connection.pgconn
        form = binary if binary is not None else bool(cursor.format)
        session = [pgconn.db, pgconn.user, pgconn.options, *map(pgconn.parameter_status, _SETTINGS)]
        session += [str(form).encode(), sent.query, repr((sent.types, list(sent.formats or ()))).encode()]
        session += [as_bytes(value) for value in sent.params or ()]
        digest = hashlib.blake2b(digest_size=16)
        for part in session:
            digest.update(b"%d:" % (-1 if part is None else len(part)) + (part or b""))
        return Question(digest.hexdigest(), (SCHEMA, EVERYTHING, *depends), one_row=row is not None)

    def _touched(self, effects: Effects, values: Sequence[Any]) -> set[str]:
        if EVERYTHING in effects.writes:
            return {SCHEMA, EVERYTHING} if effects.session else {EVERYTHING}
        touched = {f"{kind}:{table}" for table in effects.writes for kind in "ta"}
        touched |= {f"t:{table}" for table in effects.inserts}
        for one in effects.rows:
            row = called(one, values)
            touched |= {f"t:{one.table}", f"{ROW}{row[0]}:{row[1]}" if row else f"a:{one.table}"}
        return touched

    @property
    def is_asked(self) -> bool:
        """Whether reads ask Redis: not for a moment after it did not answer, or each of them would wait for it."""
        return time.monotonic() >= self._rests_until

    def rest(self) -> None:
        """Redis did not answer a read."""
        self._rests_until = time.monotonic() + _REST_S

    def count(self, question: Question, what: str) -> None:
        """Count what became of a statement: hits, misses, bypassed, writes, reloads, needless_reloads."""
        self.counts[what] += 1
        if self._observe is not None:
            self._observe(question, what)

    def read_call(self, question: Question) -> list[Any]:
        """The call of Redis that asks for a result."""
        keys = [f"{self._namespace}:q:{question.key}", *map(self._dependency, question.depends)]
        lasting = len(keys) - question.one_row
        return [READ, len(keys), *keys, new_version(), self._ttl_ms * 2, lasting]

    def begin_call(self, marks: Marks) -> list[Any]:
        """The call of Redis that marks what a writer touches."""
        names, lasting = rows_last(marks.touches)
        keys = [self._dependency(name) for name in (SCHEMA, *names)]
        a_row_ms = self._mark_ms + self._ttl_ms * 2
        return [BEGIN, len(keys), *keys, new_version(), marks.writer, self._mark_ms, a_row_ms, lasting + 1]

    def end_call(self, marks: Marks) -> list[Any]:
        """The call of Redis that takes a writer's marks away."""
        names, lasting = rows_last(marks.touches)
        keys = [self._dependency(name) for name in names]
        return [END, len(keys), *keys, new_version(), marks.writer, self._mark_ms + self._ttl_ms * 2, lasting]

    def forget_everything(self) -> list[Any]:
        """The call of Redis after which nothing that is kept is served."""
        return self.end_call(Marks((EVERYTHING,)))

    def to_keep(self, question: Question, stamp: bytes, result: Any) -> tuple[str, bytes] | None:
        """The key and the bytes of a result; None for one that is not kept: too large, or no row where one may come."""
        if not stamp or (question.one_row and not result.ntuples):
            return None
        kept = encode(result)
        if len(kept) > self._largest:
            return None
        return f"{self._namespace}:q:{question.key}", stamp + b"|" + kept

    def _dependency(self, name: str) -> str:
        return f"{self._namespace}:d:{name}"

    def ask(self, call: list[Any]) -> Any:
        """Run a script. Raises RedisError or OSError where Redis does not answer."""
        try:
            return self._redis.evalsha(digest_of(call[0]), *call[1:])
        except NoScriptError:
            return self._redis.eval(*call)

    async def ask_later(self, call: list[Any]) -> Any:
        """The same of asyncio."""
        client = self._of_this_loop()
        try:
            return await client.evalsha(digest_of(call[0]), *call[1:])
        except NoScriptError:
            return await client.eval(*call)

    def _of_this_loop(self) -> redis.asyncio.Redis:
        """A client's connections belong to the event loop that they were made in."""
        loop = asyncio.get_running_loop()
        if loop not in self._asking:
            self._asking[loop] = redis.asyncio.Redis.from_url(
                self._redis_url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=AsyncRetry(NoBackoff(), 0)
            )
        return self._asking[loop]

    def keep(self, question: Question, key: str, kept: bytes) -> None:
        """Store a result."""
        self._count_kept(question, self.ask([KEEP, 1, key, kept, self._ttl_ms]))

    async def keep_later(self, question: Question, key: str, kept: bytes) -> None:
        """The same of asyncio."""
        self._count_kept(question, await self.ask_later([KEEP, 1, key, kept, self._ttl_ms]))

    def _count_kept(self, question: Question, what: int) -> None:
        if what:
            self.count(question, "reloads")
        if what == 2:
            self.count(question, "needless_reloads")

    def close(self) -> None:
        """Close the connections to Redis that are not asyncio's."""
        self._redis.close()

    async def aclose(self) -> None:
        """Close the connections to Redis of this event loop, and those that are not asyncio's."""
        self._redis.close()
        if asking := self._asking.pop(asyncio.get_running_loop(), None):
            await asking.aclose()
