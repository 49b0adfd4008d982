"""A write that Redis could not be told of: what counts as a Redis that nobody has, and what does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache import link as links
from archzero_lab.systems.arczero.cache import settling
from archzero_lab.systems.arczero.cache.absence import Absence
from archzero_lab.systems.arczero.cache.invalidation import Outbox
from archzero_lab.systems.arczero.cache.link import Link

SETTINGS = CacheSettings(near_bytes=0)


class Clock:
    """Monotonic time that passes where a test lets it pass."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return self.now


class Seen:
    """A link whose looks take so long and find what a list says, the last one again and again."""

    lost_for_s = 0.0
    patience_s = 3 * settling.licence_over_s(SETTINGS)

    def __init__(self, clock: Clock, looks: list[tuple[float, bool]]) -> None:
        self._clock = clock
        self._looks = looks

    async def obeys(self) -> bool:
        took, found = self._looks[0] if len(self._looks) == 1 else self._looks.pop(0)
        self._clock.now += took
        return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(settling, "time", made)
    monkeypatch.setattr(links, "time", made)
    return made


def settled(clock: Clock, looks: list[tuple[float, bool]]) -> bool:
    """With a row that stays, and a Redis that cannot be told."""
    outbox = Outbox("", None, Seen(clock, looks), SETTINGS)  # type: ignore[arg-type]

    async def row_is_there(sql: str, params: Any = None) -> list[tuple[int]]:
        return [(1,)]

    async def in_vain() -> bool:
        return False

    outbox._execute = row_is_there  # type: ignore[method-assign, assignment]
    return asyncio.run(outbox.settle("me", in_vain))


def test_a_redis_that_was_seen_to_be_away_for_longer_than_a_licence_is_nobodys(clock: Clock) -> None:
    assert settled(clock, [(0.05, False)])


@pytest.mark.parametrize(
    "looks",
    [
        [(0.05, True)],
        [(4.0, False)],
        [(0.2, False)],
        [(0.14, False)] * 5 + [(0.2, False)] + [(0.14, False)] * 5 + [(0.05, True)],
    ],
    ids=["obeys", "stopped for four seconds", "starved in each look", "starved in one, and there again"],
)
def test_a_redis_that_others_may_have_had_meanwhile_is_not(clock: Clock, looks: list[tuple[float, bool]]) -> None:
    assert not settled(clock, looks)


def test_looks_with_a_gap_between_are_no_absence() -> None:
    absence = Absence(SETTINGS)
    for at in (1.0, 1.2, 1.4, 1.6):
        absence.failed(at - 0.05, at)
    assert absence.lasts_s(1.65) == pytest.approx(0.65)
    absence.failed(2.3, 2.35)
    assert absence.lasts_s(2.4) == pytest.approx(0.05), "from the look after the gap on"
    assert absence.lasts_s(3.0) == 0.0, "nobody has looked since"
    absence.answered()
    assert absence.lasts_s(2.4) == 0.0


def test_a_process_that_was_stopped_has_not_seen_redis_away_meanwhile(clock: Clock) -> None:
    async def one() -> list[float]:
        link = Link("redis://127.0.0.1:1/0", SETTINGS, [])
        stalls = [0.05, 0.05, 0.05]

        async def beat(_: Any) -> str:
            clock.now += stalls.pop(0)
            raise ConnectionError("refused")

        link.beat = beat
        told = []
        for _ in range(3):
            await link._beat()
            clock.now += 0.1
            told.append(link.lost_for_s)
        clock.now += 4.0  # SIGSTOP
        told.append(link.lost_for_s)
        stalls.append(0.05)
        await link._beat()
        told.append(link.lost_for_s)
        return [round(seconds, 3) for seconds in told]

    # from the first failed look's end, while looks come without a gap; then anew
    assert asyncio.run(one()) == [0.1, 0.25, 0.4, 0.0, 0.0]
