"""Warm the cache: load what has been asked for most, and the first pages that every client begins with."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

from archzero_lab.systems.arczero.cache.store import CacheStore
from archzero_lab.systems.arczero.cache.usage import Usage, parse_member
from archzero_lab.systems.arczero.cards.model import CardFilter, CardType, LifecyclePhase, NotFound
from archzero_lab.systems.arczero.cards.protocol import Cards


@dataclass(frozen=True)
class WarmResult:
    """How many documents of each sort were read into the cache, and how long it took."""

    loaded: dict[str, int]
    seconds: float
    complete: bool

    def as_dict(self) -> dict[str, Any]:
        """As the endpoint tells it."""
        return {
            "loaded": self.loaded,
            "total": sum(self.loaded.values()),
            "seconds": round(self.seconds, 3),
            "complete": self.complete,
        }


async def warm(cards: Cards, store: CacheStore, usage: Usage, *, most: int = 500, limit_s: float = 30.0) -> WarmResult:
    """Read, through the cache, the `most` commonest questions and the first pages of all common filters.

    Stops after `limit_s` seconds (`complete` False): warming must not become a load of its own.
    """
    began = time.perf_counter()
    await usage.share(store)
    questions: dict[uuid.UUID | CardFilter, None] = dict.fromkeys(
        parsed for member in await store.top_usage(most) if (parsed := parse_member(member)) is not None
    )
    questions |= dict.fromkeys(
        [
            *(CardFilter(page=page) for page in (1, 2, 3)),
            *(CardFilter(type=kind) for kind in CardType),
            *(CardFilter(lifecycle_phase=phase) for phase in LifecyclePhase),
        ]
    )
    loaded: Counter[str] = Counter()
    for what in questions:
        if time.perf_counter() - began > limit_s:
            return WarmResult(dict(loaded), time.perf_counter() - began, complete=False)
        try:
            if isinstance(what, uuid.UUID):
                await cards.card(what)
                loaded["cards"] += 1
            else:
                await cards.cards(what)
                loaded["lists" if what.q is None else "searches"] += 1
        except NotFound:
            continue  # asked for once, deleted since
    return WarmResult(dict(loaded), time.perf_counter() - began, complete=True)
