"""The card contract: every implementation must keep it, every read twice (load, then hit); on index set v2 too."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from archzero_lab.postgres.migrations import Migrations
from archzero_lab.systems.arczero.cards.model import (
    CardFilter,
    CardPatch,
    CardRow,
    CardStatus,
    CardType,
    Conflict,
    Cursor,
    GraphQuery,
    InvalidValue,
    LifecyclePhase,
    NotFound,
    RelationshipDraft,
    RelationshipFilter,
    RelationshipType,
    VersionMismatch,
)
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.search_v2 import COUNTED
from tests.integration.contract import card_of, created, listed

MADE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def database_url(make_database: Callable[[str], str]) -> str:
    """A database of the module's own with index set v2, on which the plain statements are as right."""
    url = make_database("card_contract")
    Migrations(url).up()
    return url


async def test_a_created_card_is_read_back_with_all_its_fields(cards: Cards) -> None:
    owner = uuid.uuid4()
    card_id, made = await created(
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
    read = await card_of(cards, card_id)
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
    card_id, made = await created(cards, quality_score=1, tags=["keep"])
    await card_of(cards, card_id)
    document = await cards.update_card(card_id, CardPatch(quality_score=2, owner_id=None))
    assert json.loads(document.body) == await card_of(cards, card_id)
    read = await card_of(cards, card_id)
    assert (read["qualityScore"], read["tags"], read["name"], read["version"]) == (2, ["keep"], made["name"], 2)
    assert read["updatedAt"] > made["updatedAt"]


async def test_a_deleted_card_is_gone_with_its_relationships(cards: Cards) -> None:
    one, _ = await created(cards)
    two, _ = await created(cards)
    relationship_id, _ = await cards.create_relationship(RelationshipDraft(one, two, RelationshipType.dependsOn))
    assert json.loads((await cards.relationships(RelationshipFilter(card_id=two))).body)["total"] == 1
    await cards.graph(GraphQuery(two))
    await card_of(cards, one)
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
    card_id, _ = await created(cards)
    first = (await cards.card(card_id)).etag
    await cards.update_card(card_id, CardPatch(quality_score=5), if_match=["other", first])
    for named in ([first], ["2"], []):
        with pytest.raises(VersionMismatch, match="at version 2 now, not what If-Match names"):
            await cards.update_card(card_id, CardPatch(quality_score=9), if_match=named)
        with pytest.raises(VersionMismatch):
            await cards.delete_card(card_id, if_match=named)
    with pytest.raises(NotFound):
        await cards.update_card(uuid.uuid4(), CardPatch(quality_score=9), if_match=[first])
    assert (await card_of(cards, card_id))["qualityScore"] == 5


async def test_an_etag_of_a_card_that_is_gone_names_no_card_made_anew(cards: Cards) -> None:
    row = CardRow(name=f"Again {uuid.uuid4()}", type=CardType.Risk, id=uuid.uuid4(), created_at=MADE, updated_at=MADE)
    assert row.id is not None
    await cards.import_cards([row])
    before = (await cards.card(row.id)).etag
    await cards.delete_card(row.id)
    await cards.import_cards([row])
    assert (await cards.card(row.id)).etag != before
    with pytest.raises(VersionMismatch):
        await cards.update_card(row.id, CardPatch(quality_score=9), if_match=[before])


async def test_type_and_name_are_unique(cards: Cards) -> None:
    _, made = await created(cards)
    with pytest.raises(Conflict, match="type and name"):
        await created(cards, name=made["name"])
    other, _ = await created(cards, name=made["name"], type=CardType.Platform)
    with pytest.raises(Conflict):
        await cards.update_card(other, CardPatch(type=CardType.Risk))
    assert (await card_of(cards, other))["type"] == "Platform"


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
        found = await listed(cards, **question)
        least = min(expected[0], COUNTED) if found["totalRelation"] == "gte" else expected[0]
        assert 0 < least <= found["total"] <= expected[0], question
        assert [card["id"] for card in found["data"]] == expected[1][:20], question
        assert found["totalRelation"] == "eq" or expected[0] >= COUNTED


async def test_status_is_active_unless_asked_otherwise(cards: Cards, connection: psycopg.Connection) -> None:
    counts = dict(connection.execute("SELECT status, count(*) FROM cards GROUP BY 1").fetchall())
    assert (await listed(cards))["total"] == counts["active"]
    assert (await listed(cards, status=CardStatus.ARCHIVED))["total"] == counts["archived"]
    assert (await listed(cards, status=None))["total"] == sum(counts.values())


async def test_pages_and_cursors_walk_the_same_cards_in_the_same_order(cards: Cards) -> None:
    question: dict[str, Any] = {"type": CardType.Interface, "page_size": 7}
    by_page: list[str] = []
    total = (await listed(cards, **question))["total"]
    for page in range(1, -(-total // 7) + 1):
        by_page += [card["id"] for card in (await listed(cards, **question, page=page))["data"]]
    by_cursor: list[str] = []
    cursor = None
    while True:
        answer = await listed(cards, **question, cursor=cursor)
        by_cursor += [card["id"] for card in answer["data"]]
        if answer["nextCursor"] is None:
            break
        cursor = Cursor.decode(answer["nextCursor"])
    assert by_page == by_cursor
    assert len(set(by_page)) == total


async def test_a_page_past_the_end_is_empty_and_knows_the_total(cards: Cards) -> None:
    answer = await listed(cards, page=1000)
    assert answer["data"] == []
    assert answer["total"] > 0
    assert answer["nextCursor"] is None


async def test_wildcards_in_a_search_are_text(cards: Cards) -> None:
    marked = uuid.uuid4().hex
    await created(cards, name=f"100% {marked}_x\\y")
    assert (await listed(cards, q=f"100% {marked}_x\\y"))["total"] == 1
    assert (await listed(cards, q=f"100_ {marked}"))["total"] == 0
    assert (await listed(cards, q=f"{marked}%y"))["total"] == 0


async def test_lists_and_searches_see_creates_updates_and_deletes_at_once(cards: Cards) -> None:
    word = uuid.uuid4().hex
    assert (await listed(cards, q=word))["total"] == 0
    card_id, _ = await created(cards, description=f"about {word}")
    assert (await listed(cards, q=word))["total"] == 1
    await cards.update_card(card_id, CardPatch(description="about nothing"))
    assert (await listed(cards, q=word))["total"] == 0
    before = (await listed(cards))["total"]
    await cards.delete_card(card_id)
    assert (await listed(cards))["total"] == before - 1


async def test_an_import_is_all_or_nothing_and_seen_at_once(cards: Cards) -> None:
    word = uuid.uuid4().hex
    rows = [CardRow(name=f"{word} {i}", type=CardType.Objective, description="t\tn\n\\") for i in range(30)]
    assert (await listed(cards, q=word))["total"] == 0
    assert await cards.import_cards(rows) == 30
    assert (await listed(cards, q=word))["total"] == 30
    with pytest.raises(Conflict):
        await cards.import_cards([CardRow(name=f"{word} new", type=CardType.Risk), rows[3]])
    assert (await listed(cards, q=word))["total"] == 30


async def test_values_that_postgresql_cannot_hold_are_invalid_not_errors(cards: Cards) -> None:
    with pytest.raises(InvalidValue):
        await created(cards, attributes={"k": "\x00"})
    with pytest.raises(InvalidValue):
        await cards.cards(CardFilter(q="a\x00b"))
