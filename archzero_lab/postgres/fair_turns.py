"""Turns at something scarce, given in rotation to those who ask: one who asks for much makes only itself wait."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextvars import ContextVar

CLIENT: ContextVar[str] = ContextVar("client", default="")
"""Who asks, as far as a service knows: an address. "" are all whom nobody named."""


class FairTurns:
    """At most `number` turns at a time, `most_of_one` of them to one client.

    What one may not have is there for the next who comes, however long the others' turns take. While none is free, each
    client in rotation gets the next that comes free.
    """

    def __init__(self, number: int, most_of_one: int) -> None:
        self._free = number
        self._most = most_of_one
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By client, in the order in which they are served."""

    async def take(self, client: str) -> None:
        """Return when it is this caller's turn. Whoever is cancelled meanwhile has none."""
        if self._free > 0 and self._held[client] < self._most:
            self._free -= 1
            self._held[client] += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give(client)  # it had come, too late for this caller
            raise

    def give(self, client: str) -> None:
        """Give a turn back: to the client that has waited longest since it was last served and may have one more."""
        self._free += 1
        self._held[client] -= 1
        if self._held[client] <= 0:
            del self._held[client]
        for other in list(self._waiting):
            if self._free > 0 and self._held[other] < self._most:
                self._serve(other)

    def _serve(self, client: str) -> None:
        turns = self._waiting.pop(client)
        while turns and turns[0].done():  # cancelled
            turns.popleft()
        if not turns:
            return
        self._free -= 1
        self._held[client] += 1
        turns.popleft().set_result(None)
        if turns:
            self._waiting[client] = turns  # behind all others
