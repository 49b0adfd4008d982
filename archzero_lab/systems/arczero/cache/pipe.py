"""A connection to Redis of the readers' own: commands go out as they come, answers come back in their order.

What is sent in one turn of the event loop leaves in one write, and what has come is parsed at one go, without a task, a
lock or a connection of a pool for each read. redis-py opens the connection (TLS, password, Sentinel) and hands it over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from archzero_lab.systems.arczero.cache.tasks import end_task

Answered = Callable[[Any], None]
"""Called once with what Redis answered, or with the exception that the command ended with."""


class Abandoned(RedisConnectionError):
    """The connection was left by us; that says nothing about Redis."""


class _Call:
    """A command under way."""

    __slots__ = ("answered", "command", "timer")

    def __init__(self, command: bytes, answered: Answered) -> None:
        self.command = command
        self.answered = answered
        self.timer: asyncio.TimerHandle | None = None


class Pipe(asyncio.Protocol):
    """One connection, made when it is first needed and again when it was lost.

    A command that is late ends the connection and with it what else is under way on it; what was not sent yet goes out
    on the next. No caller waits longer than `timeout_s`, whatever the connection does.
    """

    def __init__(self, open_connection: Callable[[], Awaitable[Any]], timeout_s: float) -> None:
        """`open_connection` gives a connected AsyncConnection of redis-py, made for this pipe alone."""
        self._open = open_connection
        self._timeout_s = timeout_s
        self._sent: deque[_Call] = deque()
        self._unsent: deque[_Call] = deque()
        self._connection: Any = None
        self._transport: Any = None
        self._reader: Any = None
        self._opening: asyncio.Task[None] | None = None

    def send(self, command: bytes, answered: Answered) -> None:
        """Send a packed command; `answered` hears of its end."""
        call = _Call(command, answered)
        call.timer = asyncio.get_running_loop().call_later(self._timeout_s, self._late, call)
        if self._transport is not None:
            self._sent.append(call)
            self._transport.write(command)
            return
        self._unsent.append(call)
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._connect())

    async def renew(self) -> None:
        """Leave the connection that there is, if any, and make a new one. Raises what that is refused with."""
        await self._leave()
        self._opening = asyncio.ensure_future(self._connect())
        await asyncio.shield(self._opening)
        if self._transport is None:
            raise RedisConnectionError("no connection for reads")

    async def close(self) -> None:
        """End the connection and whatever is under way."""
        await self._leave()
        self._end_unsent(Abandoned("closed"))

    # -- the connection ------------------------------------------------------------------------------------

    async def _leave(self) -> None:
        await end_task(self._opening)
        self._opening = None
        self._lose(Abandoned("the connection for reads is made anew"))

    async def _connect(self) -> None:
        try:
            connection = await self._open()
        except Exception as error:  # whatever it is, there is no connection; who waits for one is told
            self._end_unsent(error)
            return
        finally:
            self._opening = None
        self._connection, writer = connection, connection._writer
        # its parser knows which of redis-py's errors an answer is
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=connection._parser.parse_error, notEnoughData=_INCOMPLETE
        )
        self._reader.setmaxbuf(_KEPT_BYTES)
        self._transport = writer.transport
        self._transport.set_protocol(self)
        while self._unsent:
            call = self._unsent.popleft()
            self._sent.append(call)
            self._transport.write(call.command)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to who asked for it."""
        reader, sent = self._reader, self._sent
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not _INCOMPLETE:
                if not sent:
                    raise InvalidResponse("an answer that nobody asked for")
                call = sent.popleft()
                call.timer.cancel()  # type: ignore[union-attr]  # it was set when it was sent
                call.answered(answer)
        except InvalidResponse as error:
            self._lose(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever was under way on it has failed; the next command makes a new one."""
        self._lose(exc or RedisConnectionError("Redis closed the connection"), closed=True)

    def _late(self, call: _Call) -> None:
        if call in self._sent:
            self._sent.remove(call)
            call.answered(TimeoutError("no answer in time"))
            self._lose(RedisConnectionError("an answer before it was late"))
        elif call in self._unsent:
            self._unsent.remove(call)
            call.answered(TimeoutError("no connection in time"))

    def _lose(self, error: Exception, *, closed: bool = False) -> None:
        connection, transport, self._connection, self._transport = self._connection, self._transport, None, None
        if transport is not None and not closed:
            transport.set_protocol(_Nobody())  # what still comes is no answer to what goes out on the next one
            transport.abort()
        if connection is not None:
            connection._reader = connection._writer = None  # redis-py must not take it for open
        ended, self._sent = self._sent, deque()
        _end(ended, error)

    def _end_unsent(self, error: Exception) -> None:
        ended, self._unsent = self._unsent, deque()
        _end(ended, error)


def _end(calls: Iterable[_Call], error: Exception) -> None:
    for call in calls:
        call.timer.cancel()  # type: ignore[union-attr]  # it was set when it was sent
        call.answered(error)


class _Nobody(asyncio.Protocol):
    """Of a connection that was left."""


_INCOMPLETE = object()
_KEPT_BYTES = 4 * 1024 * 1024
"""What the parser keeps of its buffer: below a batch of lists it would be given back and taken anew with each."""
