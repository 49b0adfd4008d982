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
"""Called once with what Redis answered, or with the exception that the command ended with. It raises nothing."""

_INCOMPLETE = object()
_KEPT_BYTES = 4 * 1024 * 1024
"""What the parser keeps of its buffer: below a batch of lists it would be given back and taken anew with each."""


class Abandoned(RedisConnectionError):
    """The connection is no more, for a reason that is ours or that another command has been told."""


class _Call:
    """A command under way."""

    __slots__ = ("answered", "command", "timer")

    def __init__(self, command: bytes, answered: Answered) -> None:
        self.command = command
        self.answered = answered
        self.timer: asyncio.TimerHandle | None = None

    def end(self, answer: Any) -> None:
        """Tell its end, once."""
        if self.timer is not None:
            self.timer.cancel()
        self.answered(answer)


class _Wire(asyncio.Protocol):
    """One open connection with what is under way on it: nothing of it can be taken for an answer on another."""

    def __init__(self, connection: Any) -> None:
        """`connection` is redis-py's, open and idle."""
        self._connection = connection  # it closes its transport when nobody holds it
        # its parser knows which of redis-py's errors an answer is
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=connection._parser.parse_error, notEnoughData=_INCOMPLETE
        )
        self._reader.setmaxbuf(_KEPT_BYTES)
        self._transport = connection._writer.transport
        self._transport.set_protocol(self)
        self.sent: deque[_Call] = deque()
        self.is_open = True

    def send(self, call: _Call) -> None:
        """Send a command."""
        self.sent.append(call)
        self._transport.write(call.command)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to who asked for it."""
        reader, sent = self._reader, self.sent
        try:
            reader.feed(data)
            while self.is_open and (answer := reader.gets()) is not _INCOMPLETE:
                if not sent:
                    raise InvalidResponse("an answer that nobody asked for")
                sent.popleft().end(answer)
        except InvalidResponse as error:
            self.end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever was under way on it has failed."""
        self.end(exc or RedisConnectionError("Redis closed the connection"))

    def end(self, error: Exception) -> None:
        """Leave it; what is under way on it ends with this error."""
        if not self.is_open:
            return
        self.is_open = False
        self._transport.abort()
        self._connection._reader = self._connection._writer = None  # redis-py must not take it for open
        ended, self.sent = self.sent, deque()
        if ended:  # one connection that failed is one failure, however much was under way on it
            ended.popleft().end(error)
        _end(ended, Abandoned("the connection was lost"))


class Pipe:
    """The one connection, made when it is first needed and again when it was lost.

    A command that is late ends the connection and with it what else is under way on it; what was not sent yet goes out
    on the next. No caller waits longer than `timeout_s`, whatever the connection does.
    """

    def __init__(self, open_connection: Callable[[], Awaitable[Any]], timeout_s: float) -> None:
        """`open_connection` gives a connected AsyncConnection of redis-py, made for this pipe alone."""
        self._open = open_connection
        self._timeout_s = timeout_s
        self._wire: _Wire | None = None
        self._unsent: deque[_Call] = deque()
        self._opening: asyncio.Task[None] | None = None

    def send(self, command: bytes, answered: Answered) -> None:
        """Send a packed command; `answered` hears of its end."""
        call = _Call(command, answered)
        call.timer = asyncio.get_running_loop().call_later(self._timeout_s, self._late, call)
        if self._wire is not None and self._wire.is_open:
            self._wire.send(call)
            return
        self._unsent.append(call)
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._connect())

    async def renew(self) -> None:
        """Leave the connection that there is, if any, and make a new one. Raises RedisConnectionError without one."""
        await self._leave("made anew")
        if self._opening is None:  # else somebody has sent something meanwhile
            self._opening = asyncio.ensure_future(self._connect())
        await asyncio.shield(self._opening)
        if self._wire is None:
            raise RedisConnectionError("no connection for reads")

    async def close(self) -> None:
        """End the connection and whatever is under way."""
        await self._leave("closed")
        self._end_unsent(Abandoned("closed"))

    async def _leave(self, why: str) -> None:
        await end_task(self._opening)
        self._opening = None
        if self._wire is not None:
            self._wire.end(Abandoned(why))
            self._wire = None

    async def _connect(self) -> None:
        try:
            self._wire = _Wire(await self._open())
        except Exception as error:  # whatever it is, there is no connection; who waits for one is told
            self._wire = None
            self._end_unsent(error)
            return
        finally:
            self._opening = None
        while self._unsent:
            self._wire.send(self._unsent.popleft())

    def _late(self, call: _Call) -> None:
        if self._wire is not None and call in self._wire.sent:
            self._wire.sent.remove(call)
            call.end(TimeoutError("no answer in time"))
            self._wire.end(Abandoned("an answer before it was late"))
        elif call in self._unsent:
            self._unsent.remove(call)
            call.end(TimeoutError("no connection in time"))

    def _end_unsent(self, error: Exception) -> None:
        ended, self._unsent = self._unsent, deque()
        _end(ended, error)


def _end(calls: Iterable[_Call], error: Exception) -> None:
    for call in calls:
        call.end(error)
