"""Who leads behind Sentinel, by scripted sentinels and a clock of the test's own: one at most is relied on."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache import leader as leader_module
from archzero_lab.systems.arczero.cache.leader import Leader
from archzero_lab.systems.arczero.cache.shards import Address

SETTINGS = CacheSettings(licence_s=0.5)
A, B = ("127.0.0.1", 1), ("127.0.0.1", 2)


class Clock:
    """The time that leaders read."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Sentinel:
    """Names one, nobody (None), or does not answer."""

    def __init__(self, names: Address | None = A) -> None:
        self.names, self.answers = names, True

    async def sentinel_get_master_addr_by_name(self, name: str) -> tuple[bytes, int] | None:
        """As redis-py has it: nothing is decoded."""
        if not self.answers:
            raise RedisConnectionError("away")
        return (self.names[0].encode(), self.names[1]) if self.names is not None else None


def _leader(clock: Clock, sentinels: list[Sentinel], monkeypatch: pytest.MonkeyPatch) -> Leader:
    monkeypatch.setattr(leader_module, "time", clock)
    made = Leader("redis+sentinel://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3/lab/0", SETTINGS)
    made._sentinels = sentinels
    return made


async def test_one_that_is_named_for_the_first_time_is_relied_on_once_nobody_relies_on_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    leader = _leader(clock, [Sentinel() for _ in range(3)], monkeypatch)
    assert await leader.confirm() == A
    assert not leader.is_relied_on
    clock.now += 0.4
    await leader.confirm()
    assert not leader.is_relied_on
    clock.now += 0.11
    await leader.confirm()
    assert leader.is_relied_on
    clock.now += 0.51
    assert not leader.is_relied_on, "nobody was asked for longer than a licence lasts"
    await leader.confirm()
    assert not leader.is_relied_on, "another may have led meanwhile"


async def test_most_of_all_sentinels_must_name_it_not_most_of_those_that_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentinels = [Sentinel(A), Sentinel(B), Sentinel(None)]
    leader = _leader(Clock(), sentinels, monkeypatch)
    with pytest.raises(RedisConnectionError, match="do not name one master"):
        await leader.confirm()
    sentinels[2].names = B
    await leader.confirm()
    assert leader.address == B
    sentinels[1].answers = sentinels[0].answers = False
    with pytest.raises(RedisConnectionError):
        await leader.confirm()


STEP = st.tuples(st.sampled_from(["ask 0", "ask 1", "switch 0", "switch 1", "switch 2", "away"]), st.floats(0, 0.4))


@given(st.lists(STEP, max_size=60))
async def test_two_processes_never_rely_on_different_ones(steps: list[tuple[str, float]]) -> None:
    """Sentinels switch one by one from each master to the next; processes ask at any time."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock()
        sentinels = [Sentinel(("h", 0)) for _ in range(3)]
        processes = [_leader(clock, sentinels, monkeypatch) for _ in range(2)]
        for what, passes in steps:
            clock.now += passes
            if what.startswith("ask"):
                with suppress(RedisConnectionError):  # they do not agree just now
                    await processes[int(what[-1])].confirm()
            elif what.startswith("switch"):
                one = sentinels[int(what[-1])]
                assert one.names is not None
                newest = max(s.names[1] for s in sentinels if s.names is not None)
                one.names = ("h", newest if one.names[1] < newest else newest + 1)
            else:
                sentinels[0].answers = not sentinels[0].answers
            relied = {process.address for process in processes if process.is_relied_on}
            assert len(relied) < 2


async def test_a_sentinel_that_is_late_is_asked_again_when_it_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go, asked = asyncio.Event(), 0

    class Late(Sentinel):
        async def sentinel_get_master_addr_by_name(self, name: str) -> tuple[bytes, int] | None:
            nonlocal asked
            asked += 1
            await let_go.wait()
            return await super().sentinel_get_master_addr_by_name(name)

    leader = _leader(Clock(), [Sentinel(), Sentinel(), Late()], monkeypatch)
    for _ in range(3):
        await leader.confirm()
    assert asked == 1
    let_go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await leader.confirm()
    await asyncio.sleep(0)
    assert asked == 2
