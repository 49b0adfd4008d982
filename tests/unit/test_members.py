"""A Cluster's epochs: over histories at random nothing older is read than was acknowledged, and each rule is needed."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from archzero_lab.systems.arczero.cache import members as members_module
from archzero_lab.systems.arczero.cache.epochs import Answer, Epoch
from archzero_lab.systems.arczero.cache.members import Members
from archzero_lab.systems.arczero.cache.shards import Shards
from archzero_lab.systems.arczero.consistency.failover_worker import keep_all
from tests.unit.cluster_model import Process, World, live
from tests.unit.model_servers import Clock, Node

HISTORIES, STEPS = 15, 2_000


class AnyMinority(Members):
    """Whoever reaches a tag begins an epoch."""

    def _are_most(self, answers: Mapping[int, Answer]) -> bool:
        return bool(answers)


class Unasked(Members):
    """What was told counts, whatever has been begun since."""

    async def stands(self, epoch: Epoch, shards: Shards) -> bool:
        return True


class AtOnce(Members):
    """What is told counts while others may have a licence of the epoch before."""

    @property
    def counting(self) -> Epoch | None:
        return self.epoch


class KeepsAll(Members):
    """A tag that was out, or another's, keeps what it has."""

    _write = keep_all


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(members_module, "time", made)
    return made


async def test_nothing_older_is_read_than_was_acknowledged(clock: Clock) -> None:
    worlds = [await live(clock, seed, STEPS) for seed in range(HISTORIES)]
    assert [world.stale for world in worlds] == [[]] * HISTORIES
    assert all(world.hits and world.told and world.works for world in worlds)


# from which history on it is looked for: the seldom ones would take long to come to
@pytest.mark.parametrize(("members", "first"), [(AnyMinority, 64), (Unasked, 5), (AtOnce, 125), (KeepsAll, 102)])
async def test_without_one_of_its_rules_old_things_are_read(clock: Clock, members: type[Members], first: int) -> None:
    for seed in range(first, first + 150):
        if (await live(clock, seed, STEPS, members)).stale:
            return
    pytest.fail("every history was as it should be")


async def test_who_has_no_replicas_any_more_begins_an_epoch_after_those_of_a_timeline(clock: Clock) -> None:
    world = World(clock, random.Random(1))
    replicated, alone = Process(world, Members), Process(world, Members)
    nonce, _ = await replicated.members.agree(replicated, "00000002")  # type: ignore[arg-type]
    assert nonce is not None
    assert await Process(world, Members).members.agree(replicated, "00000001") == (None, "00000002")  # type: ignore[arg-type]
    nonce, known = await alone.members.agree(alone, "")  # type: ignore[arg-type]
    assert nonce is not None
    assert known == "00000002"
    assert alone.members.epoch is not None
    assert alone.members.epoch.timeline == ""


async def test_what_is_told_after_another_epoch_in_between_waits_for_its_licences(clock: Clock) -> None:
    world = World(clock, random.Random(1))
    slept, awake = Process(world, Members), Process(world, Members)
    for one in (slept, awake):
        await one.beat()
    clock.now += 1.0
    assert slept.members.counting
    first = world.masters[1]
    world.masters[1] = Node(clock, 1, first.data)
    awake.see()
    await awake.beat()
    await awake.beat()
    assert clock.now < awake.licensed_until, "it believes who took over"
    await slept.beat()  # and this one goes back to who was before
    assert slept.members.epoch is not None
    assert f"{first.run_id}.{first.replication_id}" in slept.members.epoch.tags
    assert slept.members.counting is None
