"""The card service over a primary and two replicas: what it may read where, and what a lagging one may never do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from archzero_lab.postgres.positions import SESSION, Position, Session
from archzero_lab.postgres.replicated import READS
from archzero_lab.servers.replicas import Lag
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.told_position import ToldPosition
from archzero_lab.systems.arczero.cards.model import CardDraft, CardFilter, CardPatch, CardType, NotFound
from archzero_lab.systems.arczero.cards.protocol import Cards
from tests.integration.conftest import until
from tests.integration.replicated_cards import UNBOUND, As, Cluster, Opened, card_cluster, open_replicated


@pytest.fixture(scope="module")
def cluster(stack: Stack) -> Iterator[Cluster]:
    with card_cluster(stack) as made:
        yield made


@pytest.fixture
def paused(cluster: Cluster) -> Iterator[Cluster]:
    """Replicas that replay nothing, and go on afterwards."""
    cluster.servers.wait_until_replayed()
    cluster.servers.hold_back(Lag(paused=True))
    yield cluster
    cluster.servers.hold_back(Lag())
    cluster.servers.wait_until_replayed()


async def _new(cards: Cards, **fields: object) -> uuid.UUID:
    card_id, _ = await cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk, **fields))  # type: ignore[arg-type]
    return card_id


async def _score(cards: Cards, card_id: uuid.UUID) -> int:
    return int(json.loads((await cards.card(card_id)).body)["qualityScore"])


def _by(server: str) -> float:
    return READS.labels(server)._value.get()


async def _all_usable(opened: Opened, number: int = 2) -> None:
    async def usable() -> bool:
        return len(opened.database.watch.usable(None)) == number

    await until(usable, 30)


async def test_reads_of_a_session_go_to_replicas_and_writes_to_the_primary(cluster: Cluster) -> None:
    async with open_replicated(cluster) as opened:
        await _all_usable(opened)
        session = As()
        with session:
            card_id = await _new(opened.cards)
        assert session.position is not None
        written, before = session.position, _by("replica")

        async def read_by_a_replica() -> bool:
            with session:
                assert await _score(opened.cards, card_id) == 0
            return _by("replica") > before

        await until(read_by_a_replica, 30)  # by the primary, until one has replayed the write
        assert session.position.covers(written)


async def test_who_names_no_session_reads_from_the_primary(paused: Cluster) -> None:
    async with open_replicated(paused) as opened:
        card_id = await _new(opened.cards)
        assert await _score(opened.cards, card_id) == 0


async def test_a_session_reads_its_own_write_while_every_replica_lags(paused: Cluster) -> None:
    async with open_replicated(paused) as opened:
        await _all_usable(opened)
        session = As()
        with session:
            card_id = await _new(opened.cards)
        with session:
            assert await _score(opened.cards, card_id) == 0
        with session:
            await opened.cards.update_card(card_id, CardPatch(quality_score=7))
        with session:
            assert await _score(opened.cards, card_id) == 7
        with As(), pytest.raises(NotFound):  # without its position: so the test would show a replica that is asked
            await opened.cards.card(card_id)


async def test_a_session_that_has_read_the_newest_reads_nothing_older(paused: Cluster) -> None:
    async with open_replicated(paused) as opened:
        await _all_usable(opened)
        card_id = await _new(opened.cards)
        session = As()
        with session as read:
            read.primary = True
            assert await _score(opened.cards, card_id) == 0
        with session:
            assert await _score(opened.cards, card_id) == 0


async def test_a_replica_beyond_the_bound_answers_nobody(paused: Cluster) -> None:
    async with open_replicated(paused, settings=replace(UNBOUND, most_lag_s=0.5)) as opened:
        card_id = await _new(opened.cards)

        async def left_out() -> bool:
            return not opened.database.watch.usable(None)

        await until(left_out, 30)
        with As():
            assert await _score(opened.cards, card_id) == 0


async def test_a_replica_that_is_gone_costs_no_read(cluster: Cluster) -> None:
    """Its pool is asked, and the primary answers."""
    async with open_replicated(cluster) as opened:
        await _all_usable(opened)
        card_id = await _new(opened.cards)
        cluster.servers.wait_until_replayed()
        for database in opened.database._of_nodes.values():
            await database.close()
        with As():
            assert await _score(opened.cards, card_id) == 0


async def test_the_cache_is_filled_with_nothing_older_than_what_was_told(paused: Cluster, stack: Stack) -> None:
    owner = uuid.uuid4()
    question = CardFilter(owner_id=owner)

    async def total(cards: Cards) -> int:
        return int(json.loads((await cards.cards(question)).body)["total"])

    async with open_replicated(paused, stack.redis_url) as opened:
        await _all_usable(opened)
        with As():
            assert await total(opened.cards) == 0
        card_id = await _new(opened.cards, owner_id=owner)
        with As():  # of nobody who would know of the write
            assert await total(opened.cards) == 1
            assert await _score(opened.cards, card_id) == 0
        await opened.cards.update_card(card_id, CardPatch(quality_score=9))
        await opened.cached._store.flush()
        with As():
            assert await _score(opened.cards, card_id) == 9


async def test_without_the_position_the_cache_would_be_filled_with_older_cards(
    paused: Cluster, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard taken out: so the test above would show it."""
    monkeypatch.setattr(ToldPosition, "session_for", lambda self, said, asked: Session())
    async with open_replicated(paused, stack.redis_url) as opened:
        await _all_usable(opened)
        card_id = await _new(opened.cards)
        with As(), pytest.raises(NotFound):
            await opened.cards.card(card_id)


async def test_a_position_that_redis_has_lost_is_made_again_and_not_believed_meanwhile(
    paused: Cluster, stack: Stack
) -> None:
    async with open_replicated(paused, stack.redis_url) as opened:
        await _all_usable(opened)
        store = opened.store
        assert store is not None
        client, name = store.link.client, store.keys.position
        card_id = await _new(opened.cards)
        await client.delete(name)
        with As():
            assert await _score(opened.cards, card_id) == 0

        async def settled() -> bool:
            held = await client.get(name)
            return held is not None and len(held) == 40

        await until(settled, 30)
        assert store.told is not None
        session = store.told.session_for((await client.get(name)).decode(), None)
        assert not session.primary
        assert session.needed is not None
        assert opened.database.watch.usable(session.needed) == []


async def test_a_position_is_not_made_again_from_before_what_was_told_meanwhile(cluster: Cluster, stack: Stack) -> None:
    async with open_replicated(cluster, stack.redis_url) as opened:
        store = opened.store
        assert store is not None
        assert store.told is not None
        client, name, scripts = store.link.client, store.keys.position, store._scripts
        await client.delete(name)
        lease = await store.lease(store.keys.card(uuid.uuid4()))
        assert lease is not None
        assert lease.position.startswith("?"), "a mark stands there from the first lease on"
        old = str(await opened.database.position())
        await _new(opened.cards)  # told, while somebody is about to put the old one there
        settle = [name, store.keys.epoch]
        assert await scripts.settle(keys=settle, args=[lease.position, old]) == 0
        await client.delete(name)  # and it is lost once more: that nothing is there says nothing
        assert await scripts.settle(keys=settle, args=["", old]) == 0
        assert await client.get(name) is None


async def test_plain_sql_is_told_with_its_position(paused: Cluster, stack: Stack) -> None:
    async with open_replicated(paused, stack.redis_url) as opened:
        await _all_usable(opened)
        card_id = await _new(opened.cards)
        with As():
            assert await _score(opened.cards, card_id) == 0
        with psycopg.connect(paused.url, autocommit=True) as plain:
            plain.execute("UPDATE cards SET quality_score = 33 WHERE id = %s", [card_id])

        async def seen() -> bool:
            with As():
                return await _score(opened.cards, card_id) == 33

        await until(seen, 30)
        with As():
            assert await _score(opened.cards, card_id) == 33


async def test_positions_of_no_cluster_of_ours_and_of_a_later_timeline(cluster: Cluster) -> None:
    async with open_replicated(cluster) as opened:
        here = await opened.database.position()
        assert opened.database.refusal_of(here) is None
        assert "another database cluster" in str(opened.database.refusal_of(replace(here, system=here.system ^ 1)))
        assert Position.parse(str(here)) == here
        SESSION.set(Session(replace(here, timeline=here.timeline + 1)))
        card_id = await _new(opened.cards)
        with pytest.raises(Exception, match="another primary"):
            await opened.cards.card(card_id)


async def test_a_replica_of_another_cluster_or_that_cannot_be_asked_is_named_and_left_out(
    cluster: Cluster, stack: Stack
) -> None:
    nobody = "postgresql://nobody@127.0.0.1:1/nothing"
    async with open_replicated(cluster, replicas=[stack.postgres_url, nobody]) as opened:
        facts = {fact["server"]: fact for fact in opened.database.facts()}
        assert len(facts) == 3
        primary, other, away = facts.values()
        assert (primary["role"], primary["trouble"]) == ("primary", None)
        assert other["trouble"] == "is of another cluster"
        assert away["trouble"].startswith("cannot be asked")
        assert opened.database.watch.usable(None) == []
        card_id = await _new(opened.cards)
        with As():
            assert await _score(opened.cards, card_id) == 0
