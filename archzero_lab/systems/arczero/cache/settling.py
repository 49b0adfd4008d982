"""What a writer may rely on: that Redis has been told, or that nobody can believe it any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Protocol

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.absence import Absence

_AGAIN_S = 0.02
SETTLING_MS = 500
"""For how long nothing is filled where another Redis has been found: the fences of writes under way went with the one
before."""


class Known(Enum):
    """How it ended."""

    TOLD = "Redis has been told"
    AWAY = "Redis has been away for longer than a licence lasts: nobody reads from it"
    NEITHER = "Redis gives licences, or may have given one, and could not be told"


class Looks(Protocol):
    """What it needs of the link."""

    @property
    def lost_for_s(self) -> float:
        """How long Redis has been seen to be away."""

    @property
    def patience_s(self) -> float:
        """How long a writer tries."""

    async def obeys(self) -> bool:
        """Whether Redis does now what an invalidation needs."""


def licence_over_s(settings: CacheSettings) -> float:
    """Seconds after which no licence is left that was had before; with room for what clocks and loops add."""
    return settings.licence_s + 0.2


async def is_nobodys(link: Looks, settings: CacheSettings) -> bool:
    """Whether Redis has been away for so long, and is so now: then nobody need wait."""
    over_s = licence_over_s(settings)
    return link.lost_for_s > over_s and not await link.obeys() and link.lost_for_s > over_s


async def tell_or_see_away(link: Looks, settings: CacheSettings, tell: Callable[[], Awaitable[bool]]) -> Known:
    """Tell Redis again and again, until it has been told, or until every licence has run out while it was away.

    At most for the link's patience. A process that is late itself proves nothing: see cache.absence.
    """
    over_s = licence_over_s(settings)
    absence = Absence(settings)
    began = time.monotonic()
    while time.monotonic() < began + link.patience_s:
        await asyncio.sleep(_AGAIN_S)
        if await tell():
            return Known.TOLD
        looked = time.monotonic()
        if await link.obeys():
            absence.answered()  # others may have renewed their licences as well
            continue
        absence.failed(looked, time.monotonic())
        if absence.lasts_s(time.monotonic()) > over_s:
            return Known.AWAY
    return Known.NEITHER
