"""Statements on a primary and its replicas: a read goes where what its request must see has been replayed."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, LiteralString, Self

import psycopg
from prometheus_client import Counter
from psycopg import errors
from psycopg.rows import TupleRow

from archzero_lab.errors import ServerError
from archzero_lab.postgres.cluster_nodes import Node, nodes_of
from archzero_lab.postgres.cluster_watch import ClusterWatch
from archzero_lab.postgres.deadline import cut
from archzero_lab.postgres.pool import Database
from archzero_lab.postgres.positions import COMMITTED, REPLAYED, SESSION, WRITTEN, Position
from archzero_lab.postgres.request_statements import fetch_row, fetch_row_and_place, only_reads
from archzero_lab.settings import PoolSettings, ReplicaSettings

READS = Counter("archzero_database_reads_total", "Reads by who answered them", ["server"])
log = logging.getLogger(__name__)
_ANOTHER = "the database has another primary by now; ask again in a moment"
_SHORT_S = 0.1
"""A replica's pool that has no connection free for so long is passed over: the primary answers."""


class _Listening(psycopg.AsyncConnection[TupleRow]):
    """A connection that hears of a commit for which PostgreSQL was made to wait no longer for its standby."""

    alone = False

    @classmethod
    async def connect(cls, *arguments: Any, **options: Any) -> Self:
        """As psycopg does."""
        made = await super().connect(*arguments, **options)
        made.add_notice_handler(made._note)
        return made

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.source_function == "SyncRepWaitForLSN":  # its text is in the server's language
            self.alone = True


class ReplicatedDatabase(Database):
    """A Database whose reads go to a replica where one has replayed what the request must see (positions.SESSION).

    A read tells as of where it was answered at most, a write as of where it stands at least, both to the session. The
    primary answers what no replica may, what changes something, and whoever has no session. A position says more than
    was seen: it is asked for after the read's snapshot, after the write's commit.
    """

    def __init__(
        self, url: str, replicas: Sequence[str], pool: PoolSettings, settings: ReplicaSettings,
        application_name: str = "archzero-lab",
    ) -> None:  # fmt: skip
        super().__init__(url, pool, application_name, connections=_Listening)
        self.watch = ClusterWatch(nodes_of(url, replicas), settings)
        self.on_primary: list[Callable[[str], None]] = []
        """Who else hears of another primary, or of its next timeline, by its URL."""
        short = replace(pool, min_size=1, acquire_timeout_s=min(_SHORT_S, pool.acquire_timeout_s))
        self._of_nodes = {node: _OfReplica(self.watch, node, short, application_name) for node in self.watch.nodes}

    async def open(self) -> None:
        """Open the pools in the background, and ask each server where it is."""
        await super().open()
        for database in self._of_nodes.values():
            await database.open()
        await self.watch.start()
        named = [node for node in self.watch.nodes if node.leads]
        if self.watch.primary is not None and named != [self.watch.primary]:
            self._follow_primary()  # who leads is not whom the URL names, or one of several
        self.watch.on_primary = self._follow_primary
        self.watch.on_silent = lambda node: self._of_nodes[node].cut_all()  # who waits for it asks another

    async def close(self) -> None:
        """Close every connection."""
        await self.watch.close()
        for database in self._of_nodes.values():
            await database.close()
        await super().close()

    async def row(
        self, sql: LiteralString, params: dict[str, Any] | None = None, *, prepare: bool | None = None
    ) -> tuple[Any, ...] | None:
        """As Database.row; a read goes to a replica where its session allows that."""
        session = SESSION.get()
        if session is not None and not session.primary and only_reads(sql):
            node = await self.watch.find(session.needed)
            if node is not None:
                try:
                    row = await self._of_nodes[node].row(sql, params, prepare=prepare)
                except errors.QueryCanceled:
                    raise  # it took too long there, and would take as long here
                except psycopg.Error as error:  # its own trouble; what is the statement's the primary says again
                    log.debug("%s did not answer a read: %s", node.name, type(error).__name__)
                else:
                    READS.labels("replica").inc()
                    return row
            READS.labels("primary").inc()
        return await super().row(sql, params, prepare=prepare)

    async def position(self) -> Position:
        """Where the primary is now: all that has been acknowledged lies before it. Raises as Database.row does."""
        row = await super().row(WRITTEN)
        return self._of_primary(row)

    def refusal_of(self, position: Position) -> str | None:
        """Why a position that a request names cannot be answered for; None where it can."""
        if self.watch.system is not None and position.system != self.watch.system:
            return "it is of another database cluster; leave it out"
        return None

    @property
    def timeline(self) -> int | None:
        """The primary's, as far as is known here."""
        return self.watch.timeline

    @property
    def primary_url(self) -> str:
        """Where writes go."""
        return self._url

    def hear_of(self, timeline: int) -> None:
        """Somebody knows of a primary on this timeline: what one of before says counts no longer."""
        self.watch.least_timeline = max(self.watch.least_timeline, timeline)

    @asynccontextmanager
    async def connection(self, longest_s: float | None = None) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        """As Database.connection."""
        await self.watch.hear()
        async with super().connection(longest_s) as connection:
            if isinstance(connection, _Listening):
                connection.alone = False  # of whatever was done on it before
            yield connection

    async def place_of(self, connection: psycopg.AsyncConnection[TupleRow]) -> str:
        """Up to where the primary that a connection leads to has been written. Raises ServerError for one of before."""
        return str(self._of_primary(await (await connection.execute(WRITTEN)).fetchone()))

    def facts(self) -> list[dict[str, Any]]:
        """Each server: its role, how far behind it may be at most, what is wrong with it."""
        watch = self.watch
        servers = []
        for node in watch.nodes:
            leads = node is watch.primary
            lag_s = watch.lag_s(node)
            servers.append(
                {
                    "server": node.name,
                    "role": "primary" if leads else "replica",
                    "lag_s": None if leads or math.isinf(lag_s) else round(lag_s, 3),
                    "trouble": (watch.split if leads and node.seen is not None else node.trouble) or None,
                }
            )
        return servers

    async def _fetch(
        self,
        connection: psycopg.AsyncConnection[TupleRow],
        sql: LiteralString,
        params: dict[str, Any] | None,
        prepare: bool | None,
    ) -> tuple[Any, ...] | None:
        session = SESSION.get()
        if not only_reads(sql):
            row = await fetch_row(connection, sql, params, prepare=prepare)
            await self.note_written(connection)
            return row
        if session is None or sql is WRITTEN:
            return await fetch_row(connection, sql, params, prepare=prepare)
        row, place, _ = await fetch_row_and_place(connection, sql, params, prepare, WRITTEN)
        position = self._of_primary(place)
        if session.needed is not None and position.timeline < session.needed.timeline:
            raise ServerError(_ANOTHER)
        session.saw(position)
        return row

    async def note_written(self, connection: psycopg.AsyncConnection[TupleRow]) -> None:
        """Tell the session where the write that has just been committed stands.

        Raises ServerError where it will not be found again, or may not be: it went to a server that is the primary no
        longer, or PostgreSQL was made to wait no longer for its standby. A psycopg.Error says nothing of the commit.
        """
        cursor = await connection.execute(COMMITTED)
        position = self._of_primary(await cursor.fetchone())
        if isinstance(connection, _Listening) and connection.alone:
            connection.alone = False
            raise ServerError("it was written, but no standby has confirmed it: it may be lost if the primary fails")
        session = SESSION.get()
        if session is not None:
            session.saw(position)

    def _of_primary(self, row: tuple[Any, ...] | None) -> Position:
        assert row is not None
        timeline, lsn = row
        if self.watch.split:
            raise ServerError(self.watch.split)
        if self.watch.system is None or timeline < max(self.watch.timeline or 0, self.watch.least_timeline):
            raise ServerError(_ANOTHER)
        return Position(self.watch.system, timeline, lsn)

    def _follow_primary(self) -> None:
        """Another server takes writes, or the same on another timeline: every connection leads there from now on."""
        node = self.watch.primary
        if node is None or self._closed:
            return
        self._url = node.url
        for connection in self._made:
            cut(connection)  # who waits for an answer of the old one waits for nothing
        if self._returning is not None:
            self._returning.cancel()
        self._away_since = time.perf_counter()
        self._returning = asyncio.create_task(self._until_back())
        for tell in self.on_primary:
            tell(node.url)


class _OfReplica(Database):
    """Statements on one replica, which say how far it had replayed once they had been answered."""

    def __init__(self, watch: ClusterWatch, node: Node, pool: PoolSettings, application_name: str) -> None:
        super().__init__(node.url, pool, application_name, patience_s=0.0)
        self._watch, self._node = watch, node

    def cut_all(self) -> None:
        """End what waits for an answer."""
        for connection in self._made:
            cut(connection)

    async def _fetch(
        self,
        connection: psycopg.AsyncConnection[TupleRow],
        sql: LiteralString,
        params: dict[str, Any] | None,
        prepare: bool | None,
    ) -> tuple[Any, ...] | None:
        session = SESSION.get()
        row, place, before = await fetch_row_and_place(connection, sql, params, prepare, REPLAYED, first=REPLAYED)
        if not place[0]:
            raise psycopg.OperationalError("it is a replica no longer")
        seen, needed = self._node.seen, session.needed if session is not None else None
        if seen is None or before[2] != seen.since or (needed is not None and before[1] < needed.lsn):
            raise psycopg.OperationalError("another server answers than was asked where it is")
        if session is not None and self._watch.system is not None and self._node.timeline is not None:
            session.saw(Position(self._watch.system, self._node.timeline, place[1]))
        return row
