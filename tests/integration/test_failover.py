"""A primary dies, or is left behind: the service follows the next one, and shows nothing of what is gone."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from archzero_lab.postgres.databases import create_database
from archzero_lab.servers.failover import FailoverCluster
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.told_position import ToldPosition
from archzero_lab.systems.arczero.cards.generator import GeneratedPortfolio
from archzero_lab.systems.arczero.cards.model import CardDraft, CardPatch, CardsError, CardType, Unavailable
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.portfolios import ensure_base
from tests.integration.conftest import until
from tests.integration.replicated_cards import As, Opened, open_replicated


@dataclass
class Failing:
    """A cluster with a card database; it can be opened as a replicated one's."""

    cluster: FailoverCluster
    name: str

    @property
    def url(self) -> str:
        return self.cluster.url_of("a", self.name)

    @property
    def replicas(self) -> list[str]:
        return [self.cluster.url_of(server, self.name) for server in self.cluster.servers]


@contextmanager
def _failing(stack: Stack, *, synchronous: bool) -> Iterator[Failing]:
    cluster = FailoverCluster(stack.postgres_programs, stack.registry, synchronous=synchronous)
    try:
        primary = cluster.servers["a"]
        own = replace(stack, postgres_url=primary.url, postgres_pid=primary.record.pid)
        base = ensure_base(own, GeneratedPortfolio(7, 300), lambda share: None)
        name = own.database_name("failing")
        create_database(own.postgres_url, name, template=base.name)
        cluster.wait_until_replayed()
        yield Failing(cluster, name)
    finally:
        cluster.close()


@pytest.fixture
def asynchronous(stack: Stack) -> Iterator[Failing]:
    with _failing(stack, synchronous=False) as made:
        yield made


@pytest.fixture
def synchronous(stack: Stack) -> Iterator[Failing]:
    with _failing(stack, synchronous=True) as made:
        yield made


@pytest.fixture
async def opened(asynchronous: Failing, stack: Stack) -> AsyncIterator[Opened]:
    async with open_replicated(asynchronous, stack.redis_url, namespace=f"failing:{uuid.uuid4().hex}") as made:
        yield made


async def _new(cards: Cards) -> uuid.UUID:
    card_id, _ = await cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
    return card_id


async def _score(cards: Cards, card_id: uuid.UUID) -> int:
    return int(json.loads((await cards.card(card_id)).body)["qualityScore"])


async def _until_written(cards: Cards, card_id: uuid.UUID, score: int) -> None:
    async def written() -> bool:
        try:
            await cards.update_card(card_id, CardPatch(quality_score=score))
        except CardsError:
            return False
        return True

    await until(written, 60)


async def test_the_service_writes_to_who_was_promoted_and_cached_reads_go_on(
    opened: Opened, asynchronous: Failing
) -> None:
    card_id = await _new(opened.cards)
    asynchronous.cluster.wait_until_replayed()
    session = As()
    with session as read:
        read.primary = True
        assert await _score(opened.cards, card_id) == 0
    asynchronous.cluster.kill("a")
    with As():
        assert await _score(opened.cards, card_id) == 0, "Redis has it"
    asynchronous.cluster.promote()
    await _until_written(opened.cards, card_id, 5)
    assert opened.database.timeline == 2
    with session:  # of the timeline before
        assert await _score(opened.cards, card_id) == 5


@pytest.mark.parametrize("written", [True, False])
async def test_what_a_failover_erased_is_not_served_from_the_cache(
    opened: Opened, asynchronous: Failing, written: bool
) -> None:
    assert await _read_after_the_end(opened, asynchronous, written=written) == 0


async def test_without_the_timeline_in_the_caches_epoch_it_would_be(
    opened: Opened, asynchronous: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard taken out: so the test above would show it."""
    store = opened.store
    assert store is not None
    monkeypatch.setattr(ToldPosition, "timeline", "00000001")
    assert await _read_after_the_end(opened, asynchronous, written=False) == 9


async def _read_after_the_end(opened: Opened, failing: Failing, *, written: bool) -> int:
    """What is read of a card whose last change no follower had, once another server has taken a write."""
    card_id, other = await _new(opened.cards), await _new(opened.cards)

    async def cleared() -> bool:  # else the next primary's outbox tells of them
        return await opened.database.row("SELECT 1 FROM cache_outbox LIMIT 1") is None

    await until(cleared, 30)
    failing.cluster.wait_until_replayed()
    for name in failing.cluster.followers:
        failing.cluster.cut_off(name)
    await opened.cards.update_card(card_id, CardPatch(quality_score=9))
    with As():
        assert await _score(opened.cards, card_id) == 9
    failing.cluster.kill("a")
    failing.cluster.promote()
    if written:
        await _until_written(opened.cards, other, 1)

    async def follows() -> bool:
        return opened.database.timeline == 2 and opened.cached._store.link.licensed

    await until(follows, 60)
    with As():
        return await _score(opened.cards, card_id)


async def test_a_commit_that_no_follower_has_is_not_acknowledged(synchronous: Failing, stack: Stack) -> None:
    """PostgreSQL waits for one without end; cancelled, it is committed all the same."""
    cluster = synchronous.cluster
    async with open_replicated(synchronous, stack.redis_url) as opened:
        card_id = await _new(opened.cards)
        for name in cluster.followers:
            cluster.cut_off(name)
        write = asyncio.ensure_future(opened.cards.update_card(card_id, CardPatch(quality_score=9)))

        async def cancelled() -> bool:
            return cluster.cancel_waiting() > 0

        await until(cancelled, 30)
        with pytest.raises(Unavailable, match="no standby has confirmed it"):
            await write
        assert await _score(opened.plain, card_id) == 9


async def test_a_primary_that_returns_is_named_and_what_it_takes_is_not_acknowledged(
    opened: Opened, asynchronous: Failing, stack: Stack
) -> None:
    card_id = await _new(opened.cards)
    cluster, store = asynchronous.cluster, opened.store
    assert store is not None
    cluster.wait_until_replayed()
    late = open_replicated(asynchronous, stack.redis_url, replicas=[], namespace=store.keys.namespace)
    async with late as knows_only_the_old_one:
        cluster.stop("a")
        cluster.promote()
        cluster.go_on("a")
        await _until_written(opened.cards, card_id, 5)

        async def named() -> bool:
            return any("takes writes on timeline 1" in (fact["trouble"] or "") for fact in opened.database.facts())

        await until(named, 60)
        with pytest.raises(Unavailable):
            await knows_only_the_old_one.cards.update_card(card_id, CardPatch(quality_score=7))
        with As(), pytest.raises(Unavailable):  # nor does it read there, once Redis has told it
            await _score(knows_only_the_old_one.plain, card_id)
        with As():
            assert await _score(opened.cards, card_id) == 5
