"""single_flight: concurrent loads of one slot in one process become one, without handing anybody an older value."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from archzero_lab.systems.arczero.cards.model import Document


class Flight:
    """One load in progress.

    `loading` is set just before the database is asked; `right` is the lease that it holds in Redis (token, generation
    and, of what has dependencies, the sequence number that it was granted at), if any.
    """

    __slots__ = ("loading", "right", "task")

    def __init__(self) -> None:
        self.loading = False
        self.right: str | None = None
        self.task: asyncio.Task[Document] | None = None

    def begin(self) -> None:
        """Nobody may join from now on who does not know this load's own right."""
        self.loading = True

    def serves(self, seen: str | None) -> bool:
        """Whether a reader that has just seen this right in the slot may take this load's result.

        It may if the database has not been asked yet (the answer will be newer than the reader's start), or if
        the load's own right still stood when the reader looked: a write in between would have voided it.
        """
        return not self.loading or (self.right is not None and seen == self.right)


class SingleFlight:
    """The loads in progress of this process, by slot."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    async def run(self, slot: str, seen: str | None, load: Callable[[Flight], Awaitable[Document]]) -> Document:
        """The result of a load of `slot`: one that is under way and serves this reader, or a new one.

        The load is a task of its own: cancelling a caller, the first included, harms no other.
        """
        flight = self._flights.get(slot)
        if flight is None or not flight.serves(seen):
            flight = Flight()
            flight.task = asyncio.ensure_future(self._fly(slot, flight, load))
            self._flights[slot] = flight
        assert flight.task is not None
        return await asyncio.shield(flight.task)

    async def _fly(self, slot: str, flight: Flight, load: Callable[[Flight], Awaitable[Document]]) -> Document:
        try:
            return await load(flight)
        finally:
            if self._flights.get(slot) is flight:
                del self._flights[slot]
