"""Who leads behind Sentinel: the server that most sentinels name, and until when nobody can rely on another.

Two that take writes are there for a while where a master is cut off from its replicas, or was paused while another was
promoted. Whoever believes the one reads what was told to the other alone. So a server is relied on for `licence_s` from
when the sentinels were asked, and a new one not before everybody's reliance on the old one has run out. The sentinels
go from one to the next: a server that leads, then another and then the first again within `licence_s` is ruled out by
their failover-timeout.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.clients import REDIS_FAILED, close_client, sentinels_of
from archzero_lab.systems.arczero.cache.shards import Address


@dataclass(frozen=True)
class _Question:
    """To one sentinel, under way or answered."""

    asked: float
    answer: asyncio.Task[Address | None]


class Leader:
    """One process's knowledge of it. Times are monotonic seconds."""

    def __init__(self, url: str, settings: CacheSettings) -> None:
        """`url` names the sentinels: all of them, for a majority is one of those."""
        self._name, self._sentinels = sentinels_of(url, settings)
        self._life_s, self._late_s = settings.licence_s, settings.timeout_s
        self.address: Address | None = None
        """Who led when it was last asked."""
        self._asked = -math.inf
        self._nobody_elses_from = math.inf
        self.relied_until = -math.inf
        """Until when it leads, nobody relies on another, and nobody will."""
        self._questions: dict[int, _Question] = {}

    async def confirm(self) -> Address:
        """Ask the sentinels who leads. Raises RedisConnectionError where most name none."""
        address, asked = await self._most_named()
        if asked < self._asked:  # another has asked later and was answered before
            return self.address or address
        missed = asked > self._asked + self._life_s
        if address != self.address or missed:  # not asked for so long, it may have been another's meanwhile
            self.address, self._nobody_elses_from = address, time.monotonic() + self._life_s
        self._asked = asked
        self.relied_until = asked + self._life_s if asked >= self._nobody_elses_from else -math.inf
        return address

    @property
    def is_relied_on(self) -> bool:
        """Whether that is not over."""
        return time.monotonic() < self.relied_until

    async def find(self) -> Address:
        """Who led when it was last asked, for a new connection. Raises RedisConnectionError where nobody did."""
        if self.address is None:
            raise RedisConnectionError(f"most of the {len(self._sentinels)} sentinels name no master {self._name}")
        return self.address

    async def close(self) -> None:
        """Close what leads to the sentinels."""
        tasks = [question.answer for question in self._questions.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sentinel in self._sentinels:
            await close_client(sentinel)

    async def _most_named(self) -> tuple[Address, float]:
        """Whom most name, and since when that is known; done as soon as most of all agree.

        Who asks beside another shares his questions, but not one that is late: whoever does not answer is asked again
        when he has.
        """
        now = time.monotonic()
        asked: dict[asyncio.Task[Address | None], float] = {}
        for number, sentinel in enumerate(self._sentinels):
            question = self._questions.get(number)
            if question is None or question.answer.done():
                question = _Question(now, asyncio.ensure_future(self._ask(sentinel)))
                self._questions[number] = question
            if question.asked >= now - self._late_s:
                asked[question.answer] = question.asked
        named: Counter[Address] = Counter()
        waiting = set(asked)
        while waiting:
            answered, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            named.update(address for task in answered if (address := task.result()) is not None)
            for address, times in named.items():
                if 2 * times > len(self._sentinels):
                    return address, min(asked.values())
        raise RedisConnectionError(f"most of the {len(self._sentinels)} sentinels do not name one master {self._name}")

    async def _ask(self, sentinel: Any) -> Address | None:
        try:
            address = await sentinel.sentinel_get_master_addr_by_name(self._name)
        except REDIS_FAILED:
            return None
        if not address:
            return None
        host = address[0].decode() if isinstance(address[0], bytes) else str(address[0])
        return host, int(address[1])
