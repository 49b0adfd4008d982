"""The cache in a Cluster of three masters: one is taken over."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import redis

from archzero_lab.servers.cluster_group import ClusterGroup
from archzero_lab.servers.redis_node import RedisNode, wait_until
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.entries import Hit
from archzero_lab.systems.arczero.cache.epochs import Epoch
from archzero_lab.systems.arczero.cards.model import CardDraft, CardPatch, CardType
from tests.integration.cached_over_groups import exercise, until_licensed
from tests.integration.conftest import PATIENT, Cached, new_card, open_cached, score_of, until


@pytest.fixture
def cluster(stack: Stack) -> Iterator[ClusterGroup]:
    group = ClusterGroup(stack)
    yield group
    group.close()


async def test_a_master_that_says_nothing_any_more_is_left_for_who_took_over(
    database_url: str, cluster: ClusterGroup
) -> None:
    async with open_cached(database_url, cluster.url, replace(PATIENT, timeout_s=0.2)) as service:
        await until_licensed(service)
        await exercise(service)
        silent = cluster.masters()[0]
        with silent.silent():
            await asyncio.to_thread(cluster.wait_for_another_than, silent)
            await until_licensed(service)
            await exercise(service)


async def test_a_cluster_of_three_masters_one_of_which_is_taken_over(database_url: str, cluster: ClusterGroup) -> None:
    async with open_cached(database_url, cluster.url, PATIENT) as service:
        assert service.store.near is None
        await exercise(service)
        masters = cluster.masters()
        sizes = [node.ask(lambda client: client.dbsize()) for node in masters]
        assert max(sizes) < sum(sizes), "no master has it all"
        masters[0].kill()
        card_id, _ = await service.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
        assert (await service.cards.card(card_id)).version == 1
        cluster.wait_for_another_than(masters[0])
        await until_licensed(service)
        await exercise(service)


async def test_a_cluster_is_known_by_each_master_that_holds_entries(database_url: str, cluster: ClusterGroup) -> None:
    run_ids = {node.ask(lambda client: client.info("server")["run_id"]) for node in cluster.masters()}
    async with open_cached(database_url, cluster.url, PATIENT) as service:
        await until_licensed(service)
        assert service.store.link.connections.known == run_ids
        epoch = _epoch_of(service)
        assert {str(identity).split(".")[0] for identity in epoch.tags} == run_ids
        health = await service.store.health()
        assert health["keys"] == sum(node.ask(lambda client: client.dbsize()) for node in cluster.masters())


@pytest.mark.parametrize("shard", range(3))
async def test_what_only_a_lost_master_was_told_is_not_believed_of_who_took_over(
    database_url: str, cluster: ClusterGroup, shard: int
) -> None:
    master = cluster.masters()[shard]
    async with open_cached(database_url, cluster.url, PATIENT) as service:
        await until_licensed(service)
        card_id = await _card_on(service, master)
        assert await score_of(service, card_id) == 1
        await asyncio.to_thread(_wait_for_follower, cluster, master)
        cluster.cut_off(master)
        await service.cards.update_card(card_id, CardPatch(quality_score=2))
        assert service.store.link.licensed, "it was told to the one that is about to be lost"
        master.kill()
        await asyncio.to_thread(cluster.wait_for_another_than, master)
        await until_licensed(service)
        assert await score_of(service, card_id) == 2


@pytest.mark.parametrize("how", ["ended", "silent"])
async def test_a_shard_that_is_away_is_read_from_postgresql_and_the_rest_goes_on(
    database_url: str, cluster: ClusterGroup, how: str
) -> None:
    away, there = cluster.masters()[:2]
    follower = cluster.follower_of(away)
    settings = replace(PATIENT, timeout_s=0.2, licence_s=1.5)  # what a silent one is waited for in every heartbeat
    namespace = f"test:{uuid.uuid4().hex}"
    async with (
        open_cached(database_url, cluster.url, settings, namespace) as service,
        open_cached(database_url, cluster.url, settings, namespace) as other,
    ):
        both = (service, other)
        for one in both:
            await until_licensed(one)
        lost, kept = await _card_on(service, away), await _card_on(service, there)
        follower.kill()
        with away.silent() if how == "silent" else _ended(away):
            for one in both:
                await until(_left_out(one), 60)
                await until_licensed(one)
            await until(_hits(service, kept))
            for score in (5, 6):
                for card_id in (lost, kept):
                    await service.cards.update_card(card_id, CardPatch(quality_score=score))
                    assert [await score_of(one, card_id) for one in both] == [score, score]
            await until(_hits(other, kept))
            assert await other.store.read(other.keys.card(lost)) is None
            health = await service.store.health()
            assert (health["connected"], health["left_out"] > 0) == (True, True)
        await asyncio.to_thread(follower.start)
        for one in both:
            await until(_taken_in(one), 60)
            await until_licensed(one)
            assert [await score_of(one, card_id) for card_id in (lost, kept)] == [6, 6]
        await until(_hits(other, lost))


@contextmanager
def _ended(node: RedisNode) -> Iterator[None]:
    node.kill()
    yield
    node.start()


def _epoch_of(service: Cached) -> Epoch:
    assert service.store.members is not None
    assert service.store.members.epoch is not None
    return service.store.members.epoch


def _left_out(service: Cached) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return None in _epoch_of(service).tags

    return is_so


def _hits(service: Cached, card_id: uuid.UUID) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        await service.cards.card(card_id)
        return isinstance(await service.store.read(service.keys.card(card_id)), Hit)

    return is_so


def _taken_in(service: Cached) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return None not in _epoch_of(service).tags

    return is_so


async def _card_on(service: Cached, master: RedisNode) -> uuid.UUID:
    """A new card whose entry that master has."""
    while True:
        card_id = await new_card(service)
        await service.cards.card(card_id)
        slot = service.keys.card(card_id).slot
        try:
            if master.ask(lambda client, slot=slot: client.exists(slot)):
                return card_id
        except redis.ResponseError:  # MOVED
            continue


def _wait_for_follower(cluster: ClusterGroup, master: RedisNode) -> None:
    """Return when it has all that its master has now."""
    follower = cluster.follower_of(master)
    told: int = master.ask(lambda client: client.info("replication"))["master_repl_offset"]
    wait_until(
        lambda: bool(follower.ask(lambda client: client.info("replication"))["slave_repl_offset"] >= told),
        "the follower has everything",
    )
