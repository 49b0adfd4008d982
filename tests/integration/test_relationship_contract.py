"""The contract of relationships and graphs: every implementation must keep it; on index set v2 too."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from archzero_lab.postgres.migrations import Migrations
from archzero_lab.systems.arczero.cards.model import (
    CardType,
    Conflict,
    GraphQuery,
    InvalidReference,
    InvalidValue,
    NotFound,
    RelationshipDraft,
    RelationshipFilter,
    RelationshipPatch,
    RelationshipType,
    VersionMismatch,
)
from archzero_lab.systems.arczero.cards.protocol import Cards
from tests.integration.contract import created


@pytest.fixture(scope="module")
def database_url(make_database: Callable[[str], str]) -> str:
    """A database of the module's own with index set v2, on which the plain statements are as right."""
    url = make_database("relationship_contract")
    Migrations(url).up()
    return url


async def test_relationships_are_written_read_and_changed(cards: Cards) -> None:
    one, _ = await created(cards)
    two, _ = await created(cards)
    relationship_id, document = await cards.create_relationship(
        RelationshipDraft(one, two, RelationshipType.reliesOn, confidence=0.5)
    )
    made = json.loads(document.body)
    assert (made["fromCardId"], made["toCardId"], made["relationshipType"]) == (str(one), str(two), "reliesOn")
    assert set(made) == {
        "id", "fromCardId", "toCardId", "relationshipType", "validFrom", "validTo", "attributes", "confidence",
        "createdAt",
    }  # fmt: skip
    for end in (one, two):
        listed = json.loads((await cards.relationships(RelationshipFilter(card_id=end))).body)
        assert [entry["id"] for entry in listed["data"]] == [str(relationship_id)]
    first = (await cards.relationship(relationship_id)).etag
    await cards.update_relationship(relationship_id, RelationshipPatch(confidence=0.9), if_match=[first])
    with pytest.raises(VersionMismatch):
        await cards.update_relationship(relationship_id, RelationshipPatch(confidence=0.1), if_match=[first])
    listed = json.loads((await cards.relationships(RelationshipFilter(card_id=one))).body)
    assert listed["data"][0]["confidence"] == 0.9
    await cards.delete_relationship(relationship_id)
    assert json.loads((await cards.relationships(RelationshipFilter(card_id=one))).body)["total"] == 0
    with pytest.raises(NotFound):
        await cards.delete_relationship(relationship_id)


async def test_a_relationship_to_no_card_is_refused(cards: Cards) -> None:
    one, _ = await created(cards)
    with pytest.raises(InvalidReference):
        await cards.create_relationship(RelationshipDraft(one, uuid.uuid4(), RelationshipType.guides))
    with pytest.raises(InvalidReference):
        await cards.import_relationships([RelationshipDraft(uuid.uuid4(), one, RelationshipType.guides)])


async def test_a_graph_holds_what_is_near_in_either_direction(cards: Cards) -> None:
    ids = [(await created(cards, type=CardType.Platform if i == 3 else CardType.Risk))[0] for i in range(5)]
    joined = [(0, 1, 1.0), (2, 1, 1.0), (2, 3, 0.4), (3, 4, 1.0)]
    for source, target, confidence in joined:
        await cards.create_relationship(
            RelationshipDraft(ids[source], ids[target], RelationshipType.dependsOn, confidence=confidence)
        )

    async def reached(**query: Any) -> dict[str, int]:
        first = await cards.graph(GraphQuery(ids[0], **query))
        assert first == await cards.graph(GraphQuery(ids[0], **query))
        return {node["id"]: node["depth"] for node in json.loads(first.body)["nodes"]}

    assert await reached(depth=2) == {str(ids[i]): i for i in range(3)}
    assert await reached(depth=5) == {str(ids[i]): i for i in range(5)}
    assert len(await reached(depth=5, min_confidence=0.5)) == 3
    assert len(await reached(depth=5, card_types=(CardType.Risk,))) == 3
    assert len(await reached(depth=5, relationship_types=(RelationshipType.guides,))) == 1
    edges = json.loads((await cards.graph(GraphQuery(ids[0], depth=2))).body)["edges"]
    assert len(edges) == 2
    with pytest.raises(NotFound):
        await cards.graph(GraphQuery(uuid.uuid4()))


async def test_graph_statistics_count_what_is_there(cards: Cards, connection: psycopg.Connection) -> None:
    stats = json.loads((await cards.graph_stats()).body)
    assert stats["cards"] == connection.execute("SELECT count(*) FROM cards").fetchone()[0]  # type: ignore[index]
    assert sum(stats["cardsByType"].values()) == stats["cards"]
    assert sum(stats["relationshipsByType"].values()) == stats["relationships"]
    await created(cards)
    assert json.loads((await cards.graph_stats()).body)["cards"] == stats["cards"] + 1


async def test_a_relationship_that_is_there_is_refused_a_second_time(cards: Cards) -> None:
    (one, _), (two, _) = await created(cards), await created(cards)
    draft = RelationshipDraft(one, two, RelationshipType.dependsOn, valid_from=dt.date(2024, 1, 1))
    first, _ = await cards.create_relationship(draft)
    with pytest.raises(Conflict, match=str(first)):
        await cards.create_relationship(replace(draft, confidence=0.5))
    with pytest.raises(Conflict, match=f"row 2.*{first}"):
        await cards.import_relationships([replace(draft, relationship_type=RelationshipType.guides), draft])
    await cards.create_relationship(replace(draft, valid_from=dt.date(2025, 1, 1)))
    await cards.create_relationship(replace(draft, valid_from=None))
    with pytest.raises(Conflict, match="there is already one"):
        await cards.create_relationship(replace(draft, valid_from=None))


async def test_of_equal_relationships_made_at_once_one_is_made(cards: Cards) -> None:
    (one, _), (two, _) = await created(cards), await created(cards)
    draft = RelationshipDraft(one, two, RelationshipType.enforces)
    made = await asyncio.gather(*[cards.create_relationship(draft) for _ in range(8)], return_exceptions=True)
    assert sorted(type(each).__name__ for each in made) == ["Conflict"] * 7 + ["tuple"]


async def test_of_equal_relationships_imported_and_made_at_once_one_is_there(cards: Cards) -> None:
    (one, _), (two, _) = await created(cards), await created(cards)
    draft = RelationshipDraft(one, two, RelationshipType.enforces)
    others = [
        RelationshipDraft(two, one, RelationshipType.enforces, valid_from=dt.date(2024, 1, day)) for day in range(1, 9)
    ]
    at_once = [*(cards.import_relationships([draft, other]) for other in others), cards.create_relationship(draft)]
    made = await asyncio.gather(*at_once, return_exceptions=True)
    assert sum(isinstance(each, Conflict) for each in made) == len(at_once) - 1, made
    page = json.loads((await cards.relationships(RelationshipFilter(card_id=one))).body)
    assert [row["toCardId"] for row in page["data"]].count(str(two)) == 1


async def test_a_change_that_lets_it_end_before_it_begins_is_refused(cards: Cards) -> None:
    (one, _), (two, _) = await created(cards), await created(cards)
    draft = RelationshipDraft(one, two, RelationshipType.enforces, valid_from=dt.date(2024, 1, 1))
    made, _ = await cards.create_relationship(draft)
    with pytest.raises(InvalidValue, match="validTo"):
        await cards.update_relationship(made, RelationshipPatch(valid_to=dt.date(2023, 1, 1)))
