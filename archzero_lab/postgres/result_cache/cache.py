"""ResultCache: which statements are kept under which key, what they depend on, and the connections that use it."""

from __future__ import annotations

import functools
import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import redis
import redis.asyncio
from psycopg import AsyncCursor, Cursor
from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer
from redis.exceptions import NoScriptError

from archzero_lab.errors import DatabaseError, ServerError, SettingsError
from archzero_lab.postgres.result_cache.async_connections import AsyncCachingConnection
from archzero_lab.postgres.result_cache.connections import CachingConnection
from archzero_lab.postgres.result_cache.effects import Effects, Row, known_effects, resolve_views
from archzero_lab.postgres.result_cache.protocol import BEGIN, END, READ
from archzero_lab.postgres.result_cache.records import encode
from archzero_lab.postgres.result_cache.schema import EVERYTHING, read_schema
from archzero_lab.postgres.result_cache.written import NOT_HEARD

_REST_S = 1.0
_SETTINGS = (b"TimeZone", b"DateStyle", b"IntervalStyle", b"client_encoding", b"search_path", b"session_authorization")


@dataclass(frozen=True)
class Question:
    """A statement with its values: the key of its result and what that depends on, or what it touches."""

    key: str = ""
    depends: tuple[str, ...] = ()
    touches: frozenset[str] = frozenset()
    session: bool = False
    one_row: bool = False


class ResultCache:
    """Keeps results of statements in one Redis, for every process that uses the same `namespace`.

    `connection` and `async_connection` are classes for psycopg (connection_class of a pool, or `.connect`). Results
    live `ttl_s` seconds at most; one of more than `largest_bytes` is not kept. `longest_write_s`: how long what a
    writer touched stays unkept where it dies, and is to be longer than a transaction takes. `trigger_writes` says of a
    table ("public.orders") which tables its triggers write; of one that has triggers and is not named there each write
    drops everything. `counts` has hits, misses, bypassed statements and writes of this process;
    `observe` is told of each as it comes.

    Raises DatabaseError where the schema cannot be read, ServerError where Redis does not answer, SettingsError for
    a Redis that restores an older state after a restart, or a default isolation other than "read committed".
    """

    def __init__(
        self, database_url: str, redis_url: str, namespace: str, *,
        ttl_s: float = 300.0, longest_write_s: float = 60.0,
        largest_bytes: int = 2_000_000, trigger_writes: Mapping[str, Collection[str]] | None = None,
        observe: Callable[[Question, str], None] | None = None,
    ) -> None:  # fmt: skip
        self._database_url, self._trigger_writes = database_url, dict(trigger_writes or {})
        self._namespace, self._largest = namespace, largest_bytes
        self._ttl_ms, self._mark_ms = int(ttl_s * 1000), int(longest_write_s * 1000)
        self.longest_write_s, self._rests_until = longest_write_s, 0.0
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self._asking = redis.asyncio.Redis.from_url(redis_url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self.counts: Counter[str] = Counter()
        self._observe = observe
        self._require_forgetful()
        self.read_schema()
        self.connection = type("CachingConnection", (CachingConnection,), {"cache": self})
        self.async_connection = type("AsyncCachingConnection", (AsyncCachingConnection,), {"cache": self})

    def read_schema(self) -> None:
        """Read tables, keys, views, triggers and functions anew: after a change that this process did not make."""
        try:
            with psycopg.connect(self._database_url, autocommit=True) as connection:
                (isolation,) = connection.execute("SHOW default_transaction_isolation").fetchone() or ("",)
                self._schema = read_schema(connection, self._trigger_writes)
        except psycopg.Error as error:
            raise DatabaseError(f"the result cache cannot read the schema: {error}") from None
        if isolation != "read committed":
            raise SettingsError(
                f"default_transaction_isolation is {isolation}: results are kept of read committed alone; set it so"
            )
        resolve_views(self._schema)

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
        values = _in_order(params, sent._order)
        if effects.changes:
            return Question(touches=frozenset(self._touched(effects, values)), session=effects.session)
        if not effects.cacheable:
            return Question(session=effects.session)
        row = _called(effects.row, values)
        depends = (f"a:{row[0]}", f"r:{row[0]}:{row[1]}") if row else sorted(f"t:{table}" for table in effects.reads)
        pgconn = cursor.connection.pgconn
        form = binary if binary is not None else bool(cursor.format)
        told = [pgconn.db, pgconn.user, *map(pgconn.parameter_status, _SETTINGS), str(form).encode(), sent.query]
        told += [repr(sent.types).encode(), *(_bytes(value) for value in sent.params or ())]
        digest = hashlib.blake2b(digest_size=16)
        for part in told:
            digest.update(b"%d:" % (-1 if part is None else len(part)) + (part or b""))
        return Question(digest.hexdigest(), (EVERYTHING, *depends), one_row=row is not None)

    def _touched(self, effects: Effects, values: Sequence[Any]) -> set[str]:
        if EVERYTHING in effects.writes:
            return {EVERYTHING}
        touched = {f"{kind}:{table}" for table in effects.writes for kind in "ta"}
        touched |= {f"t:{table}" for table in effects.inserts}
        for one in effects.rows:
            row = _called(one, values)
            touched |= {f"t:{one.table}", f"r:{row[0]}:{row[1]}" if row else f"a:{one.table}"}
        return touched

    @property
    def is_asked(self) -> bool:
        """Whether reads ask Redis: not for a moment after it did not answer, or each of them would wait for it."""
        return time.monotonic() >= self._rests_until

    def rest(self) -> None:
        """Redis did not answer a read."""
        self._rests_until = time.monotonic() + _REST_S

    def count(self, question: Question, what: str) -> None:
        """Count what became of a statement: hits, misses, bypassed, writes."""
        self.counts[what] += 1
        if self._observe is not None:
            self._observe(question, what)

    def forget_everything(self) -> list[Any]:
        """The call of Redis after which nothing that is kept is served."""
        return self.end_call((EVERYTHING,), "nobody")

    def read_call(self, question: Question) -> list[Any]:
        """The call of Redis that asks for a result."""
        keys = [f"{self._namespace}:q:{question.key}", *map(self._dependency, question.depends)]
        return [READ, len(keys), *keys, _new(), self._ttl_ms * 2]

    def begin_call(self, touched: Collection[str], writer: str) -> list[Any]:
        """The call of Redis that marks what a writer touches."""
        keys = [self._dependency(name) for name in touched]
        return [BEGIN, len(keys), *keys, _new(), writer, self._mark_ms, self._mark_ms + self._ttl_ms]

    def end_call(self, touched: Collection[str], writer: str) -> list[Any]:
        """The call of Redis that takes a writer's marks away."""
        keys = [self._dependency(name) for name in touched]
        return [END, len(keys), *keys, _new(), writer, self._mark_ms + self._ttl_ms]

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
            return self._redis.evalsha(_digest(call[0]), *call[1:])
        except NoScriptError:
            return self._redis.eval(*call)

    async def ask_later(self, call: list[Any]) -> Any:
        """The same of asyncio."""
        try:
            return await self._asking.evalsha(_digest(call[0]), *call[1:])
        except NoScriptError:
            return await self._asking.eval(*call)

    def keep(self, key: str, kept: bytes) -> None:
        """Store a result."""
        self._redis.set(key, kept, px=self._ttl_ms)

    async def keep_later(self, key: str, kept: bytes) -> None:
        """The same of asyncio."""
        await self._asking.set(key, kept, px=self._ttl_ms)

    def close(self) -> None:
        """Close the connections to Redis that are not asyncio's."""
        self._redis.close()

    async def aclose(self) -> None:
        """Close all connections to Redis."""
        self._redis.close()
        await self._asking.aclose()


def _in_order(params: Any, order: list[str] | None) -> Sequence[Any]:
    if params is None:
        return ()
    return [params[name] for name in order] if order is not None else list(params)


def _called(row: Row | None, values: Sequence[Any]) -> tuple[str, str] | None:
    """A row's table and the one name of its key; None for a value that may be written in more ways than one."""
    if row is None or row.parameter >= len(values):
        return None
    value = values[row.parameter]
    if isinstance(value, str):
        try:
            value = uuid.UUID(value)
        except ValueError:
            value = int(value) if value.isascii() and value.isdigit() else None
    if isinstance(value, uuid.UUID) or (isinstance(value, int) and not isinstance(value, bool)):
        return row.table, str(value)
    return None


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


@functools.cache
def _digest(script: str) -> str:
    """The name by which Redis knows a script that it has seen."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _new() -> str:
    return uuid.uuid4().hex[:16]
