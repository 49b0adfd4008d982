"""What is asked for most: counted in the process, added up in Redis, so that a warm loads what is really used."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import msgspec

from archzero_lab.systems.arczero.cards.model import CardFilter

if TYPE_CHECKING:
    from archzero_lab.systems.arczero.cache.store import CacheStore

KEPT = 5_000
"""How many different questions the shared table holds."""


class Usage:
    """Counts of questions since the last flush to Redis. Counting costs one dict update a read."""

    def __init__(self) -> None:
        self._counts: dict[uuid.UUID | CardFilter, int] = {}

    def count(self, what: uuid.UUID | CardFilter) -> None:
        """A card's detail, or a list or search, was asked for."""
        self._counts[what] = self._counts.get(what, 0) + 1

    async def share(self, store: CacheStore) -> None:
        """Add the counts to the shared table and begin anew."""
        if not self._counts:
            return
        counts, self._counts = Counter(self._counts), {}
        await store.add_usage({_member(what): amount for what, amount in counts.most_common(KEPT)}, KEPT)

    async def share_every(self, store: CacheStore, period_s: float) -> None:
        """Share until cancelled."""
        while True:
            await asyncio.sleep(period_s)
            await self.share(store)


def _member(what: uuid.UUID | CardFilter) -> str:
    if isinstance(what, uuid.UUID):
        return "card:" + what.hex
    return "list:" + msgspec.json.encode(asdict(replace(what, cursor=None))).decode()


def parse_member(member: str) -> uuid.UUID | CardFilter | None:
    """The question of a member of the shared table; None for one that an older version wrote otherwise."""
    kind, _, text = member.partition(":")
    with contextlib.suppress(ValueError, msgspec.MsgspecError):
        if kind == "card":
            return uuid.UUID(hex=text)
        return msgspec.json.decode(text, type=CardFilter)
    return None
