"""What one client can do to a service, in a process of its own: python -m … KIND URL SECONDS < paths and bodies.

It says UNDER_WAY once its connections have been made or refused, and ends by itself.

silent: connections that send nothing or stop in the midst; slow: a byte now and then; dear: questions that cost much;
large: bodies at the limit, cut off or whole; locked: writes to a row that somebody holds locked.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ADDRESS = "127.0.0.2"
NUMBERS = {"silent": 400, "slow": 60, "dear": 60, "large": 3, "locked": 60}
"""Connections at once."""
_UNTIL_UNDER_WAY = {"locked": 4}
"""How often each of them is made until the attack is under way; once where nothing is said."""
UNDER_WAY = "under way"
_BEGUN = (
    b"", b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    b"POST /api/v1/cards HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
)  # fmt: skip


class Attack:
    """An attack on a service until a time. `told` has what the service's own form of it needs."""

    def __init__(self, url: str, seconds: float, result: dict[str, Any], connections: int) -> None:
        self._not_yet = connections
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._until = time.monotonic() + seconds
        self._told = result
        self._rng = random.Random(0)
        self._body = Path(result["large"][2]).read_bytes() if "large" in result else b""

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection(self._host, self._port, local_addr=(ADDRESS, 0))
        finally:
            self._not_yet -= 1
            if self._not_yet == 0:
                print(UNDER_WAY, flush=True)

    async def until_over(self, doing: Callable[[], Awaitable[None]]) -> None:
        """Do it again and again."""
        while time.monotonic() < self._until:
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                await asyncio.wait_for(doing(), max(self._until - time.monotonic(), 0.05))
            await asyncio.sleep(0.01)

    async def silent(self) -> None:
        """Hold a connection."""
        _, writer = await self._connect()
        writer.write(self._rng.choice(_BEGUN))
        try:
            await asyncio.sleep(max(self._until - time.monotonic(), 0))
        finally:
            writer.close()

    async def slow(self) -> None:
        """A byte of a header every tenth of a second."""
        _, writer = await self._connect()
        writer.write(_BEGUN[1])
        try:
            while time.monotonic() < self._until:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.1)
        finally:
            writer.close()

    async def dear(self) -> None:
        """Ask, and wait for the answer; now and then go away before it."""
        reader, writer = await self._connect()
        path = self._rng.choice(self._told["dear"])
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        try:
            if self._rng.random() > 0.2:
                while await reader.read(65_536):
                    pass
        finally:
            writer.close()

    async def large(self) -> None:
        """Send a body at the limit; every other time only half of it."""
        path, kind, _ = self._told["large"]
        body = self._body
        reader, writer = await self._connect()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode())
        try:
            whole = self._rng.random() < 0.5
            writer.write(body if whole else body[: len(body) // 2])
            await writer.drain()
            if whole:
                while await reader.read(65_536):
                    pass
        finally:
            writer.close()

    async def locked(self) -> None:
        """Write to the row, and ask anew after half a second, answered or not: so every worker gets its share."""
        reader, writer = await self._connect()
        path, body = self._told["locked"]
        head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        try:
            async with asyncio.timeout(self._rng.uniform(0.3, 0.7)):
                while await reader.read(65_536):
                    pass
                await asyncio.sleep(1)
        finally:
            writer.close()


async def attack(kind: str, url: str, seconds: float, result: dict[str, Any]) -> None:
    """Attack until the time is over."""
    attacks = Attack(url, seconds, result, NUMBERS[kind] * _UNTIL_UNDER_WAY.get(kind, 1))
    await asyncio.gather(*[attacks.until_over(getattr(attacks, kind)) for _ in range(NUMBERS[kind])])


def command(kind: str, url: str, seconds: float) -> Sequence[str]:
    """The process that attacks; what it is told comes by its standard input."""
    return [sys.executable, "-P", "-m", "archzero_lab.jobs.consistency.attacks", kind, url, str(seconds)]


if __name__ == "__main__":
    asyncio.run(attack(sys.argv[1], sys.argv[2], float(sys.argv[3]), json.load(sys.stdin)))
