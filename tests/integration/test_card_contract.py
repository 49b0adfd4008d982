"""The card contract: every implementation must keep it, every read twice (load, then hit); on index set v2 too."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from archzero_lab.postgres.migrations import Migrations
from archzero_lab.systems.arczero.cards.model import (
    CardDraft,
    CardFilter,
    CardPatch,
    CardRow,
    CardStatus,
    CardType,
    Conflict,
    Cursor,
    GraphQuery,
    InvalidReference,
    InvalidValue,
    LifecyclePhase,
    NotFound,
    RelationshipDraft,
    RelationshipFilter,
    RelationshipPatch,
    RelationshipType,
    VersionMismatch,
)
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.search_v2 import COUNTED


@pytest.fixture(scope="module")
def database_url(make_database: Callable[[str], str]) -> str:
    """A database of the module's own with index set v2, on which the plain statements are as right."""
    url = make_database("card_contract")
    Migrations(url).up()
    return url


async def _list(cards: Cards, **question: Any) -> dict[str, Any]:
    first = await cards.cards(CardFilter(**question))
    again = await cards.cards(CardFilter(**question))
    assert first == again
    found: dict[str, Any] = json.loads(first.body)
    return found


async def _create(cards: Cards, **fields: Any) -> tuple[uuid.UUID, dict[str, Any]]:
    draft = {"name": f"Card {uuid.uuid4()}", "type": CardType.Risk, **fields}
    card_id, document = await cards.create_card(CardDraft(**draft))
    return card_id, json.loads(document.body)


async def _card(cards: Cards, card_id: uuid.UUID) -> dict[str, Any]:
    first, again = await cards.card(card_id), await cards.card(card_id)
    assert first == again
    found: dict[str, Any] = json.loads(first.body)
    return found


async def test_a_created_card_is_read_back_with_all_its_fields(cards: Cards) -> None:
    owner = uuid.uuid4()
    card_id, made = await _create(
        cards,
        type=CardType.Application,
        lifecycle_phase=LifecyclePhase.Testing,
        quality_score=77,
        description="Zwölf Boxkämpfer \\ \" 'x'; DROP TABLE cards; -- %_",
        owner_id=owner,
        tags=["a", "b"],
        attributes={"k": {"deep": [1, 2.50, None]}},
        status=CardStatus.DRAFT,
    )
    read = await _card(cards, card_id)
    assert read == made
    assert read["id"] == str(card_id)
    assert (read["type"], read["lifecyclePhase"], read["qualityScore"]) == ("Application", "Testing", 77)
    assert read["description"].startswith("Zwölf")
    assert (read["ownerId"], read["tags"], read["status"]) == (str(owner), ["a", "b"], "draft")
    assert read["attributes"] == {"k": {"deep": [1, 2.5, None]}}
    assert read["version"] == 1
    assert set(read) == {
        "id", "name", "type", "lifecyclePhase", "qualityScore", "description", "ownerId", "createdAt", "updatedAt",
        "attributes", "tags", "status", "version",
    }  # fmt: skip


async def test_an_update_changes_what_it_names_and_is_seen_at_once(cards: Cards) -> None:
    card_id, made = await _create(cards, quality_score=1, tags=["keep"])
    await _card(cards, card_id)
    document = await cards.update_card(card_id, CardPatch(quality_score=2, owner_id=None))
    assert json.loads(document.body) == await _card(cards, card_id)
    read = await _card(cards, card_id)
    assert (read["qualityScore"], read["tags"], read["name"], read["version"]) == (2, ["keep"], made["name"], 2)
    assert read["updatedAt"] > made["updatedAt"]


async def test_a_deleted_card_is_gone_with_its_relationships(cards: Cards) -> None:
    one, _ = await _create(cards)
    two, _ = await _create(cards)
    relationship_id, _ = await cards.create_relationship(RelationshipDraft(one, two, RelationshipType.dependsOn))
    assert json.loads((await cards.relationships(RelationshipFilter(card_id=two))).body)["total"] == 1
    await cards.graph(GraphQuery(two))
    await _card(cards, one)
    await cards.delete_card(one)
    with pytest.raises(NotFound):
        await cards.card(one)
    with pytest.raises(NotFound):
        await cards.relationship(relationship_id)
    with pytest.raises(NotFound):
        await cards.delete_card(one)
    assert json.loads((await cards.relationships(RelationshipFilter(card_id=two))).body)["total"] == 0
    assert len(json.loads((await cards.graph(GraphQuery(two))).body)["nodes"]) == 1


async def test_writes_of_a_stale_version_are_refused_and_change_nothing(cards: Cards) -> None:
    card_id, _ = await _create(cards)
    await cards.update_card(card_id, CardPatch(quality_score=5), if_version=1)
    with pytest.raises(VersionMismatch, match="at version 2 now, not 1"):
        await cards.update_card(card_id, CardPatch(quality_score=9), if_version=1)
    with pytest.raises(VersionMismatch):
        await cards.delete_card(card_id, if_version=1)
    with pytest.raises(NotFound):
        await cards.update_card(uuid.uuid4(), CardPatch(quality_score=9), if_version=1)
    assert (await _card(cards, card_id))["qualityScore"] == 5


async def test_type_and_name_are_unique(cards: Cards) -> None:
    _, made = await _create(cards)
    with pytest.raises(Conflict, match="type and name"):
        await _create(cards, name=made["name"])
    other, _ = await _create(cards, name=made["name"], type=CardType.Platform)
    with pytest.raises(Conflict):
        await cards.update_card(other, CardPatch(type=CardType.Risk))
    assert (await _card(cards, other))["type"] == "Platform"


async def test_every_filter_finds_what_plain_sql_finds(cards: Cards, connection: psycopg.Connection) -> None:
    row = connection.execute(
        "SELECT type, lifecycle_phase, owner_id, tags->>0, attributes->>'region', status FROM cards"
        " WHERE tags->>0 IS NOT NULL AND attributes ? 'region' LIMIT 1"
    ).fetchone()
    assert row is not None
    kind, phase, owner, tag, region, _ = row
    questions: list[tuple[dict[str, Any], str, list[Any]]] = [
        ({"type": CardType(kind)}, "type = %s", [kind]),
        ({"lifecycle_phase": LifecyclePhase(phase)}, "lifecycle_phase = %s", [phase]),
        ({"owner_id": owner}, "owner_id = %s", [owner]),
        ({"min_quality": 80}, "quality_score >= 80", []),
        ({"tags": (tag,)}, "tags @> to_jsonb(%s::text)", [tag]),
        ({"attributes": json.dumps({"region": region})}, "attributes->>'region' = %s", [region]),
        ({"q": "platform"}, "(name || ' ' || description) ~* 'platform'", []),
        ({"q": "pl"}, "(name ~* 'pl' OR description ~* 'pl')", []),
    ]
    for question, condition, params in questions:
        expected = connection.execute(
            f"SELECT count(*), array_agg(id::text ORDER BY created_at DESC, id DESC) FROM cards"
            f" WHERE status = 'active' AND {condition}",
            params,
        ).fetchone()
        assert expected is not None
        found = await _list(cards, **question)
        least = min(expected[0], COUNTED) if found["totalRelation"] == "gte" else expected[0]
        assert 0 < least <= found["total"] <= expected[0], question
        assert [card["id"] for card in found["data"]] == expected[1][:20], question
        assert found["totalRelation"] == "eq" or expected[0] >= COUNTED


async def test_status_is_active_unless_asked_otherwise(cards: Cards, connection: psycopg.Connection) -> None:
    counts = dict(connection.execute("SELECT status, count(*) FROM cards GROUP BY 1").fetchall())
    assert (await _list(cards))["total"] == counts["active"]
    assert (await _list(cards, status=CardStatus.ARCHIVED))["total"] == counts["archived"]
    assert (await _list(cards, status=None))["total"] == sum(counts.values())


async def test_pages_and_cursors_walk_the_same_cards_in_the_same_order(cards: Cards) -> None:
    question: dict[str, Any] = {"type": CardType.Interface, "page_size": 7}
    by_page: list[str] = []
    total = (await _list(cards, **question))["total"]
    for page in range(1, -(-total // 7) + 1):
        by_page += [card["id"] for card in (await _list(cards, **question, page=page))["data"]]
    by_cursor: list[str] = []
    cursor = None
    while True:
        answer = await _list(cards, **question, cursor=cursor)
        by_cursor += [card["id"] for card in answer["data"]]
        if answer["nextCursor"] is None:
            break
        cursor = Cursor.decode(answer["nextCursor"])
    assert by_page == by_cursor
    assert len(set(by_page)) == total


async def test_a_page_past_the_end_is_empty_and_knows_the_total(cards: Cards) -> None:
    answer = await _list(cards, page=1000)
    assert answer["data"] == []
    assert answer["total"] > 0
    assert answer["nextCursor"] is None


async def test_wildcards_in_a_search_are_text(cards: Cards) -> None:
    marked = uuid.uuid4().hex
    await _create(cards, name=f"100% {marked}_x\\y")
    assert (await _list(cards, q=f"100% {marked}_x\\y"))["total"] == 1
    assert (await _list(cards, q=f"100_ {marked}"))["total"] == 0
    assert (await _list(cards, q=f"{marked}%y"))["total"] == 0


async def test_lists_and_searches_see_creates_updates_and_deletes_at_once(cards: Cards) -> None:
    word = uuid.uuid4().hex
    assert (await _list(cards, q=word))["total"] == 0
    card_id, _ = await _create(cards, description=f"about {word}")
    assert (await _list(cards, q=word))["total"] == 1
    await cards.update_card(card_id, CardPatch(description="about nothing"))
    assert (await _list(cards, q=word))["total"] == 0
    before = (await _list(cards))["total"]
    await cards.delete_card(card_id)
    assert (await _list(cards))["total"] == before - 1


async def test_an_import_is_all_or_nothing_and_seen_at_once(cards: Cards) -> None:
    word = uuid.uuid4().hex
    rows = [CardRow(name=f"{word} {i}", type=CardType.Objective, description="t\tn\n\\") for i in range(30)]
    assert (await _list(cards, q=word))["total"] == 0
    assert await cards.import_cards(rows) == 30
    assert (await _list(cards, q=word))["total"] == 30
    with pytest.raises(Conflict):
        await cards.import_cards([CardRow(name=f"{word} new", type=CardType.Risk), rows[3]])
    assert (await _list(cards, q=word))["total"] == 30


async def test_values_that_postgresql_cannot_hold_are_invalid_not_errors(cards: Cards) -> None:
    with pytest.raises(InvalidValue):
        await _create(cards, attributes={"k": "\x00"})
    with pytest.raises(InvalidValue):
        await cards.cards(CardFilter(q="a\x00b"))


async def test_relationships_are_written_read_and_changed(cards: Cards) -> None:
    one, _ = await _create(cards)
    two, _ = await _create(cards)
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
    await cards.update_relationship(relationship_id, RelationshipPatch(confidence=0.9), if_version=1)
    with pytest.raises(VersionMismatch):
        await cards.update_relationship(relationship_id, RelationshipPatch(confidence=0.1), if_version=1)
    listed = json.loads((await cards.relationships(RelationshipFilter(card_id=one))).body)
    assert listed["data"][0]["confidence"] == 0.9
    await cards.delete_relationship(relationship_id)
    assert json.loads((await cards.relationships(RelationshipFilter(card_id=one))).body)["total"] == 0
    with pytest.raises(NotFound):
        await cards.delete_relationship(relationship_id)


async def test_a_relationship_to_no_card_is_refused(cards: Cards) -> None:
    one, _ = await _create(cards)
    with pytest.raises(InvalidReference):
        await cards.create_relationship(RelationshipDraft(one, uuid.uuid4(), RelationshipType.guides))
    with pytest.raises(InvalidReference):
        await cards.import_relationships([RelationshipDraft(uuid.uuid4(), one, RelationshipType.guides)])


async def test_a_graph_holds_what_is_near_in_either_direction(cards: Cards) -> None:
    ids = [(await _create(cards, type=CardType.Platform if i == 3 else CardType.Risk))[0] for i in range(5)]
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
    await _create(cards)
    assert json.loads((await cards.graph_stats()).body)["cards"] == stats["cards"] + 1
