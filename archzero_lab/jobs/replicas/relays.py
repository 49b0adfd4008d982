"""Relays before a primary and its replica: what a program writes there and reads here is seen, and compared.

Each read that goes to the replica is first asked of the primary, in a session of the relay's own: what that had then
and the replica has not is stale. The program is answered by the replica, as if nobody stood between.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
from psycopg import AsyncConnection, pq

from archzero_lab.errors import ServerError
from archzero_lab.jobs.replicas import wire
from archzero_lab.jobs.replicas.stale import (
    Row,
    StaleRead,
    Statement,
    Written,
    cause_of,
    difference,
    is_volatile,
    named,
)
from archzero_lab.servers.ports import free_port

_POSITION = "SELECT pg_current_wal_lsn()::text"
_REPLAYED = "SELECT coalesce(pg_last_wal_replay_lsn() >= %s::pg_lsn, true)"
"""Of a replica; what is no replica has all."""


@dataclass
class Seen:
    """What went through the relays. `undecided` reads differed and may by themselves (now(), random(), …)."""

    reads: int = 0
    writes: list[Written] = field(default_factory=list)
    stale: list[StaleRead] = field(default_factory=list)
    undecided: dict[str, int] = field(default_factory=dict)
    not_compared: int = 0


@dataclass
class _OnItsWay:
    """A statement that is being answered. `primary` is None where it is not compared."""

    statement: Statement
    simple: bool
    at: float
    had_replayed: bool = False
    """Whether the replica was where the primary was when that was asked: then it differs by what came later."""
    primary: list[Row] | None = None
    replica: list[Row] = field(default_factory=list)


class Relays:
    """Listens before a primary and a replica; a context manager, with an event loop in a thread of its own."""

    def __init__(self, primary_url: str, replica_url: str) -> None:
        self.seen = Seen()
        self._urls = {"primary": primary_url, "replica": replica_url}
        self._ports = {"primary": free_port(), "replica": free_port()}
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)

    def through(self, role: str, url: str) -> str:
        """A URL of the primary or the replica, by way of its relay."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{self._ports[role]}"))

    def __enter__(self) -> Relays:
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise ServerError(f"the relays did not start: {self._failed}")
        return self

    def __exit__(self, *error: object) -> None:
        if self._loop is not None and self._over is not None:
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failed = error
            self._ready.set()
            raise

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        servers = [
            await asyncio.start_server(self._begin(role), "127.0.0.1", port) for role, port in self._ports.items()
        ]
        self._ready.set()
        await self._over.wait()
        for server in servers:
            server.close()

    def _begin(self, role: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            target = urlsplit(self._urls[role])
            behind = await asyncio.open_connection("127.0.0.1", target.port)
            pid = await asyncio.to_thread(_pid_of, writer.get_extra_info("peername")[1])
            session = _Session(self.seen, self._urls, role, pid)
            try:
                await session.relay((reader, writer), behind)
            finally:
                await session.close()
                writer.close()
                behind[1].close()

        return begun


class _Session:
    """One connection of the program."""

    def __init__(self, seen: Seen, urls: dict[str, str], role: str, pid: int) -> None:
        self._seen = seen
        self._urls = urls
        self._compares = role == "replica"
        self._pid = pid
        self._statements = wire.Statements()
        self._database = ""
        self._on_its_way: deque[_OnItsWay] = deque()
        self._beside: dict[str, AsyncConnection] = {}

    async def relay(
        self,
        front: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        behind: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Pass on what comes from either side until one of them ends."""
        ways = [
            asyncio.create_task(self._ask(front, behind[1])),
            asyncio.create_task(self._answer(behind[0], front[1])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def close(self) -> None:
        """End the sessions beside."""
        for connection in self._beside.values():
            await connection.close()

    # -- what the program asks -----------------------------------------------------------------------------

    async def _ask(self, front: tuple[asyncio.StreamReader, asyncio.StreamWriter], out: asyncio.StreamWriter) -> None:
        messages = wire.Messages(client=True)
        while data := await front[0].read(65_536):
            for kind, body, raw in messages.feed(data):
                if kind == b"":
                    (code,) = struct.unpack_from("!i", body)
                    if code in (wire.SSL_REQUEST, wire.GSS_REQUEST):
                        front[1].write(b"N")
                        continue
                    if code != wire.CANCEL_REQUEST:
                        self._database = wire.startup_parameters(body).get("database", "")
                        messages.started()
                else:
                    question = self._statements.read_message(kind, body)
                    if question is not None:
                        self._on_its_way.append(await self._look(question))
                out.write(raw)
            await out.drain()

    async def _look(self, question: wire.Asked) -> _OnItsWay:
        """What is asked; of a read on the replica what the primary says to it now."""
        way = _OnItsWay(named(question.text), question.simple, time.monotonic())
        if not self._compares or not way.statement.reads or not way.statement.tables:
            return way
        self._seen.reads += 1
        try:
            primary, replica = await self._beside_of("primary"), await self._beside_of("replica")
            row = await (await primary.execute(_POSITION)).fetchone()
            way.primary = await asyncio.to_thread(_run, primary.pgconn, question)
            reached = await (await replica.execute(_REPLAYED, [row[0] if row else "0/0"])).fetchone()
            way.had_replayed = reached == (True,)
        except psycopg.Error:
            way.primary = None
        if way.primary is None:
            self._seen.not_compared += 1
        return way

    async def _beside_of(self, role: str) -> AsyncConnection:
        connection = self._beside.get(role)
        if connection is None or connection.closed:
            parts = urlsplit(self._urls[role])
            url = urlunsplit(parts._replace(path=f"/{self._database or parts.path.strip('/')}"))
            connection = await AsyncConnection.connect(
                url, autocommit=True, application_name="archzero-lab beside",
                options="-c default_transaction_read_only=on -c statement_timeout=10s",
            )  # fmt: skip
            self._beside[role] = connection
        return connection

    # -- what is answered ----------------------------------------------------------------------------------

    async def _answer(self, source: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        messages = wire.Messages(client=False)
        while data := await source.read(65_536):
            for kind, body, raw in messages.feed(data):
                self._note(kind, body)
                out.write(raw)
            await out.drain()

    def _note(self, kind: bytes, body: bytes) -> None:
        """Pair an answer with the statement that it is to: each ends by one of C, E, I and s, a simple one by Z."""
        if not self._on_its_way:
            return
        way = self._on_its_way[0]
        if kind == b"D" and way.primary is not None:
            way.replica.append(wire.data_row(body))
        elif kind == b"Z":  # what an error left unanswered is over too
            self._on_its_way.clear()
            if way.simple:
                self._judge(way)
        elif kind in (b"C", b"E", b"I", b"s"):
            if kind == b"E":
                way.primary = None
            elif kind == b"C" and way.statement.writes:
                self._seen.writes.append(Written(time.monotonic(), way.statement, self._pid))
            if not way.simple:  # of several statements in one text the others follow
                self._on_its_way.popleft()
                self._judge(way)

    def _judge(self, read: _OnItsWay) -> None:
        if read.primary is None:
            return
        cells = difference(read.replica, read.primary)
        if not cells or read.had_replayed:
            return
        if is_volatile(read.statement):
            text = read.statement.text
            self._seen.undecided[text] = self._seen.undecided.get(text, 0) + 1
            return
        cause, own = cause_of(read.statement, self._pid, read.at, self._seen.writes)
        self._seen.stale.append(StaleRead(time.monotonic(), read.statement, self._pid, cause, own, cells))


def _run(connection: pq.abc.PGconn, question: wire.Asked) -> list[Row] | None:
    """The rows of a statement as the primary has them, in the formats that the program wants; None for an error."""
    result_format = question.results[0] if question.results else 0
    if any(other != result_format for other in question.results):
        return None
    if question.simple:
        result = connection.exec_(question.text.encode())
    else:
        formats = question.formats or (0,)
        if len(formats) == 1:
            formats *= len(question.values)
        result = connection.exec_params(
            question.text.encode(), list(question.values),
            list(question.types) + [0] * (len(question.values) - len(question.types)),
            list(formats), result_format,
        )  # fmt: skip
    if result.status != pq.ExecStatus.TUPLES_OK:
        return None
    return [tuple(result.get_value(row, column) for column in range(result.nfields)) for row in range(result.ntuples)]


def _pid_of(port: int) -> int:
    """The process that has a connection from this port; 0 where nobody can tell."""
    for connection in psutil.net_connections("tcp4"):
        if connection.laddr and connection.laddr.port == port and connection.pid:
            return int(connection.pid)
    return 0
