"""The cache in a Cluster of three masters: one is taken over."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from archzero_lab.servers.cluster_group import ClusterGroup
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cards.model import CardDraft, CardType
from tests.integration.cached_over_groups import exercise, until_licensed
from tests.integration.conftest import PATIENT, open_cached


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
