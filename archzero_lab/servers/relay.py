"""A TCP relay that puts distance between two ends, or swallows what is sent, as a network would; a process of its own.

    python -m archzero_lab.servers.relay PORT TARGET_PORT CONTROL_PORT

A line on the control port sets it: `delay_ms 5` (added to a round trip, half of it each way) or `swallow 1`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import deque
from typing import cast

import uvloop

_TIMER_S = 0.002
_WAKE_S = 0.0004


class _Network:
    """What the relay does to every connection now."""

    delay_s = 0.0
    swallow = False


class _End(asyncio.Protocol):
    """One end of a relayed connection; what arrives here leaves at `other`, in order."""

    def __init__(self, network: _Network, loop: asyncio.AbstractEventLoop) -> None:
        self._network = network
        self._loop = loop
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._due = 0.0
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self._network.swallow:
            return
        if not self._network.delay_s and not self._waiting:
            self._pass_on(data)
            return
        # never before what was sent earlier, whatever the delay is set to meanwhile
        now = time.monotonic()  # the loop's own clock goes by milliseconds
        self._due = max(self._due, now + self._network.delay_s / 2)
        self._waiting.append((self._due, data))
        self._loop.call_later(max(0.0, self._due - now - _TIMER_S), self._pass_next)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def _pass_next(self) -> None:
        due, data = self._waiting.popleft()
        # timers of the loop are milliseconds wide (5 ms would be 6.6), a sleep wakes up late: the end is waited for
        time.sleep(max(0.0, due - time.monotonic() - _WAKE_S))
        while time.monotonic() < due:
            pass
        self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        assert self.other is not None
        if self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.write(data)


class _Accepted(_End):
    """The end that connected to us; what it sends before the target is reached waits for that."""

    def __init__(self, network: _Network, loop: asyncio.AbstractEventLoop, target_port: int) -> None:
        super().__init__(network, loop)
        self._target_port = target_port
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            super().data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        assert self.transport is not None
        other = _End(self._network, self._loop)
        other.other = self
        try:
            await self._loop.create_connection(lambda: other, "127.0.0.1", self._target_port)
        except OSError:
            self.transport.abort()  # nobody is there: the one who asks is told so
            return
        self.other = other
        for data in self._early:
            super().data_received(data)
        self._early.clear()


async def _control(network: _Network, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        name, value = line.decode().split()
        if name == "delay_ms":
            network.delay_s = float(value) / 1000
        else:
            network.swallow = value == "1"
        writer.write(b"ok\n")
        await writer.drain()
    writer.close()


async def _run(port: int, target_port: int, control_port: int) -> None:
    network, loop = _Network(), asyncio.get_running_loop()
    await loop.create_server(lambda: _Accepted(network, loop, target_port), "127.0.0.1", port)
    await asyncio.start_server(lambda r, w: _control(network, r, w), "127.0.0.1", control_port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_run(*(int(argument) for argument in sys.argv[1:4])))
