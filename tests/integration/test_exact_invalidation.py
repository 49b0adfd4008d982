"""A write throws away the entries that it changes and no others; what Redis loses of the protocol costs hits alone."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.entries import Hit
from archzero_lab.systems.arczero.cards.changes import Changed
from archzero_lab.systems.arczero.cards.model import (
    CardDraft,
    CardFilter,
    CardPatch,
    CardRow,
    CardType,
    Document,
    GraphQuery,
    NotFound,
    RelationshipDraft,
    RelationshipType,
)
from tests.integration.conftest import Cached, open_cached


async def _is_hit(cached: Cached, question: CardFilter) -> bool:
    before = await cached.store.read(cached.keys.cards(question))
    await cached.cards.cards(question)
    return hasattr(before, "document")


async def test_a_write_throws_away_the_pages_that_it_changes_and_no_others(cached: Cached) -> None:
    ids = {}
    for kind in (CardType.Objective, CardType.Initiative):
        ids[kind], _ = await cached.cards.create_card(
            CardDraft(f"{kind} {uuid.uuid4()}", kind, description="quaint words")
        )
    objectives, initiatives = CardFilter(type=CardType.Objective), CardFilter(type=CardType.Initiative)
    search, other = CardFilter(q="quaint"), CardFilter(q="zzyzx")
    good = CardFilter(type=CardType.Objective, min_quality=80)
    questions = [objectives, initiatives, search, other, good]

    async def after(write: Any) -> list[bool]:
        for question in questions:
            for _ in range(2):
                await cached.cards.cards(question)
        await write
        return [await _is_hit(cached, question) for question in questions]

    objective = ids[CardType.Objective]
    assert await after(cached.cards.update_card(objective, CardPatch(quality_score=50))) == [
        False,
        True,
        False,
        True,
        True,
    ]
    assert await after(cached.cards.update_card(objective, CardPatch(quality_score=85))) == [
        False,
        True,
        False,
        True,
        False,
    ]
    moved = CardPatch(type=CardType.Initiative)
    assert await after(cached.cards.update_card(objective, moved)) == [False, False, False, True, False]
    draft = CardDraft(f"New {uuid.uuid4()}", CardType.Initiative, description="plain")
    assert await after(cached.cards.create_card(draft)) == [True, False, True, True, True]
    assert await after(cached.cards.delete_card(ids[CardType.Initiative])) == [True, False, False, True, True]


async def test_a_relationship_throws_away_the_graphs_of_its_ends_and_no_others(cached: Cached) -> None:
    first, second, third = [
        (await cached.cards.create_card(CardDraft(f"Node {uuid.uuid4()}", CardType.Interface)))[0] for _ in range(3)
    ]
    for card_id in (first, second, third, first, second, third):
        await cached.cards.graph(GraphQuery(card_id))
    await cached.cards.create_relationship(RelationshipDraft(first, second, RelationshipType.impacts))
    found = [await cached.store.read(cached.keys.graph(GraphQuery(card_id))) for card_id in (first, second, third)]
    assert [hasattr(value, "document") for value in found] == [False, False, True]


@pytest.mark.parametrize("lost", ["dependencies", "sequence"])
async def test_what_redis_evicts_of_the_protocol_costs_hits_and_nothing_else(cached: Cached, lost: str) -> None:
    question = CardFilter(type=CardType.ARBMeeting)
    for _ in range(2):
        await cached.cards.cards(question)
    assert await _is_hit(cached, question)
    client: Any = cached.store._client
    if lost == "sequence":
        await client.delete(cached.keys.sequence)
    else:
        await client.delete(*[name async for name in client.scan_iter(cached.keys.dependencies + "*")])
        assert await _is_hit(cached, question), "nothing has been announced or told since it was found to hold"
        await client.delete(cached.keys.moved)
        assert not await _is_hit(cached, question)
    await cached.cards.create_card(CardDraft(f"Meeting {uuid.uuid4()}", CardType.ARBMeeting))
    total = json.loads((await cached.cards.cards(question)).body)["total"]
    assert total == json.loads((await cached.plain.cards(question)).body)["total"]
    await cached.cards.cards(question)
    assert await _is_hit(cached, question)


def _asked_names(cached: Cached) -> list[int]:
    """From now on, how many names each read asks Redis for."""
    pipe, asked = cached.store.link.pipe, []
    assert pipe is not None
    inner = pipe.send

    def send(command: bytes, answered: Any) -> None:
        asked.append(int(command[1 : command.index(b"\r")]) - 1)
        inner(command, answered)

    pipe.send = send  # type: ignore[method-assign]
    return asked


async def test_while_nothing_changes_a_hit_asks_for_no_dependency(cached: Cached) -> None:
    questions = [CardFilter(type=kind) for kind in (CardType.ArchitecturePrinciple, CardType.TechnologyStandard)]
    for question in questions * 3:
        await cached.cards.cards(question)
    asked = _asked_names(cached)
    for question in questions:
        assert await _is_hit(cached, question)
    assert set(asked) == {4}
    await cached.cards.create_card(CardDraft(f"Risk {uuid.uuid4()}", CardType.Risk))
    del asked[:]
    for question in questions * 2:
        await cached.cards.cards(question)
    # the first learns that something has changed and asks again; the next one knows; then both are known to hold
    first, again, second, *later = asked
    assert (first, later) == (4, [4, 4])
    assert again > 4
    assert second > 4


@pytest.mark.parametrize("lost", ["with a change", "before a change"])
async def test_a_number_of_moves_that_was_lost_makes_nothing_old_valid(cached: Cached, lost: str) -> None:
    name = f"Card {uuid.uuid4()}"
    card_id, _ = await cached.cards.create_card(CardDraft(name, CardType.Risk, quality_score=1))
    question, client = CardFilter(q=name), cached.store._client
    for _ in range(3):
        await cached.cards.cards(question)
    value = await cached.store.read(cached.keys.cards(question))
    assert isinstance(value, Hit)
    moves = int(await client.get(cached.keys.moved))
    await client.delete(cached.keys.moved)
    if lost == "with a change":
        await client.delete(*[cached.keys.dependencies + text for text in _names(value)])
    else:
        await cached.cards.update_card(card_id, CardPatch(quality_score=2))
    assert not await _is_hit(cached, question)
    now = await client.get(cached.keys.moved)
    assert now is None or abs(int(now) - moves) > 1_000


def _names(value: Hit) -> list[str]:
    return [value.names[at : at + 12].decode() for at in range(0, len(value.names), 12)]


async def test_an_import_of_many_ids_forgets_cards_as_a_whole(cached: Cached) -> None:
    rows = [CardRow(f"Many {uuid.uuid4()}", CardType.Risk, id=uuid.uuid4()) for _ in range(1_500)]
    asked = rows[0].id
    assert asked is not None
    while not isinstance(await cached.store.read(cached.keys.card(asked)), Hit):
        with pytest.raises(NotFound):
            await cached.cards.card(asked)
    client: Any = cached.store._client
    before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    await cached.cards.import_cards(rows)
    assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] - before < len(rows) / 2
    assert json.loads((await cached.cards.card(asked)).body)["name"] == rows[0].name


async def test_what_depends_on_more_than_an_entry_can_name_is_not_stored(cached: Cached) -> None:
    key = cached.keys.cards(CardFilter(q="everything"))
    for count, stored in ((1_000, False), (999, True)):
        lease = await cached.store.lease(key)
        assert lease is not None
        names = [f"x{number:011d}" for number in range(count)]
        assert await cached.store.fill(key, lease, Document(b'{"data":[]}', "1"), 0.0, names) is stored


async def test_a_reload_that_brings_back_the_same_bytes_is_counted_as_needless(cached: Cached, stack: Stack) -> None:
    from archzero_lab.systems.arczero.cache import counters

    question = CardFilter(type=CardType.ARBSubmission)
    for _ in range(2):
        await cached.cards.cards(question)
    before = counters.totals()["list"]
    await cached.store.flush()  # nothing has changed, and nobody says it had
    await cached.cards.cards(question)
    await cached.store.invalidate([Changed([], ["list"], None)])
    await cached.cards.cards(question)
    await cached.cards.create_card(CardDraft(f"Submission {uuid.uuid4()}", CardType.ARBSubmission))
    await cached.cards.cards(question)
    after = counters.totals()["list"]
    assert (after["reload"] - before["reload"], after["needless"] - before["needless"]) == (2, 1)


async def test_between_a_commit_and_its_telling_no_page_shows_what_was_before(
    cached: Cached, stack: Stack, database_url: str
) -> None:
    name = f"Card {uuid.uuid4()}"
    card_id, _ = await cached.cards.create_card(CardDraft(name, CardType.Risk, quality_score=1))
    question, seen = CardFilter(q=name), []
    async with open_cached(database_url, stack.redis_url, namespace=cached.keys.namespace) as other:
        while not isinstance(await other.store.read(other.keys.cards(question)), Hit):
            await other.cards.cards(question)
        inner = cached.plain.update_card

        async def update_card(*arguments: Any) -> Document:
            document = await inner(*arguments)
            seen.append(json.loads((await other.cards.cards(question)).body)["data"][0]["qualityScore"])
            return document

        cached.plain.update_card = update_card  # type: ignore[method-assign]
        await cached.cards.update_card(card_id, CardPatch(quality_score=2))
    assert seen == [2], "who has met the new in the database must not meet the old in Redis"
