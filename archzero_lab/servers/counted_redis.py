"""A way to a Redis that counts: every command with its keys and bytes, by a relay that reads what passes.

Exact where INFO is not: a command is told from the service's own in the background by its keys, and bytes are those of
arguments and answers, without the protocol's framing.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import hiredis

from archzero_lab.servers.redis_sizes import size_of

_OF_CONNECTIONS = frozenset(
    (b"HELLO", b"AUTH", b"SELECT", b"CLIENT", b"PING", b"QUIT", b"READONLY", b"COMMAND", b"INFO", b"CONFIG")
)
"""What a client asks for its connection's sake, at moments of its own."""

_WAITS = frozenset(b"BLPOP BRPOP BLMOVE BRPOPLPUSH BLMPOP BZPOPMIN BZPOPMAX BZMPOP WAIT WAITAOF".split())
_NOTHING = object()
_SUBSCRIBES = frozenset(b"SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE".split())
_HEARD = frozenset(
    b"message pmessage smessage subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe".split()
)
"""What a subscriber is sent, which answers no command: pushed by RESP3, an array by RESP2."""


@dataclass(frozen=True)
class Command:
    """One command: its arguments, and the bytes of what was answered."""

    arguments: tuple[bytes, ...]
    answered: int

    @property
    def name(self) -> str:
        """GET, MGET, …"""
        return self.arguments[0].decode("ascii", "replace").upper()

    @property
    def sent(self) -> int:
        """Bytes of its arguments, as size_of counts them."""
        return sum(map(size_of, self.arguments))


class CountedRedis:
    """`url` is the relay's. Commands are kept as they are answered; `take` gives them away."""

    def __init__(self, url: str) -> None:
        self.url = ""
        self._target = urlsplit(url)
        self._done: list[Command] = []
        self._lock = threading.Lock()
        self._open = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="counted redis", daemon=True)

    def start(self) -> None:
        """Listen on a free port of loopback."""
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            self._loop.create_server(lambda: _Asking(self, self._loop, self._target.port or 6379), "127.0.0.1", 0),
            self._loop,
        ).result()
        port = server.sockets[0].getsockname()[1]
        login = self._target.netloc.rpartition("@")[0]
        self.url = urlunsplit(self._target._replace(netloc=f"{login}@127.0.0.1:{port}"))

    def close(self) -> None:
        """End the relay, connections and all."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def take(self) -> list[Command]:
        """The commands that were answered since, without those that connections send for themselves."""
        with self._lock:
            done, self._done = self._done, []
        return done

    @property
    def waiting(self) -> bool:
        """Whether a command has no answer yet, but those that wait for somebody else."""
        with self._lock:
            return self._open > 0

    def note_command(self, arguments: tuple[bytes, ...]) -> None:
        """A command went by."""
        with self._lock:
            self._open += not _blocks(arguments)

    def answered(self, arguments: tuple[bytes, ...], size: int) -> None:
        """It was answered."""
        with self._lock:
            self._open -= not _blocks(arguments)
            if arguments[0].upper() not in _OF_CONNECTIONS:
                self._done.append(Command(arguments, size))

    def dropped(self, commands: Iterable[tuple[bytes, ...]]) -> None:
        """A connection closed on them."""
        with self._lock:
            self._open -= sum(not _blocks(arguments) for arguments in commands)


@contextmanager
def counted_redis(url: str) -> Iterator[CountedRedis]:
    """A counting way to a Redis for as long as the block runs."""
    relay = CountedRedis(url)
    relay.start()
    try:
        yield relay
    finally:
        relay.close()


class _Asking(asyncio.Protocol):
    """The end of a client: its commands, in order, are what the server's answers belong to."""

    def __init__(self, relay: CountedRedis, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self._relay = relay
        self._loop = loop
        self._port = port
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._early: list[bytes] | None = []
        self._server: _Answering | None = None
        self.waiting: deque[tuple[bytes, ...]] = deque()
        self.subscribed = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (command := self._reader.gets()) is not _NOTHING:
            if isinstance(command, list) and command:
                arguments = tuple(cast("list[bytes]", command))
                self._relay.note_command(arguments)
                if arguments[0].upper() in _SUBSCRIBES:
                    self.subscribed = True
                    self._relay.answered(arguments, 0)
                else:
                    self.waiting.append(arguments)
        if self._early is not None:
            self._early.append(data)
        elif self._server is not None and self._server.transport is not None:
            self._server.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._relay.dropped(self.waiting)
        self.waiting.clear()
        if self._server is not None and self._server.transport is not None:
            self._server.transport.close()

    async def _connect(self) -> None:
        assert self.transport is not None
        try:
            _, made = await self._loop.create_connection(lambda: _Answering(self, self._relay), "127.0.0.1", self._port)
        except OSError:
            self.transport.abort()  # nobody is there: the one who asks is told so
            return
        self._server = made
        assert made.transport is not None
        for data in self._early or ():
            made.transport.write(data)
        self._early = None


class _Answering(asyncio.Protocol):
    """The end of the server."""

    def __init__(self, client: _Asking, relay: CountedRedis) -> None:
        self._client = client
        self._relay = relay
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._client.transport is not None:
            self._client.transport.write(data)
        # counted after it went on: who asked may have it while we still say `waiting`, never the other way round
        while (answer := self._reader.gets()) is not _NOTHING:
            if self._client.waiting and not _is_heard(answer, self._client.subscribed):
                self._relay.answered(self._client.waiting.popleft(), size_of(answer))

    def connection_lost(self, error: Exception | None) -> None:
        if self._client.transport is not None:
            self._client.transport.close()


def _is_heard(answer: Any, subscribed: bool) -> bool:
    """Whether this is a message of a subscription."""
    kind = answer[0] if subscribed and isinstance(answer, list) and answer else None
    return isinstance(answer, hiredis.PushNotification) or (isinstance(kind, bytes) and kind in _HEARD)


def _blocks(arguments: tuple[bytes, ...]) -> bool:
    """Whether a command may wait for what somebody else does: a worker's, which says nothing of a request."""
    name = arguments[0].upper()
    return name in _WAITS or (name in (b"XREAD", b"XREADGROUP") and b"BLOCK" in map(bytes.upper, arguments))
