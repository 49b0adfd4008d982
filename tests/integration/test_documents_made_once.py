"""A statement that answers with a document and its digest makes the document once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from conftest import open_plain

from archzero_lab.postgres.migrations import Migrations
from archzero_lab.systems.arczero.cards.model import CardFilter, GraphQuery, RelationshipFilter
from archzero_lab.systems.arczero.cards.search import list_statement
from archzero_lab.systems.arczero.cards.search_v2 import list_statement_v2
from archzero_lab.systems.arczero.cards.service import CardService


@pytest.fixture(scope="module")
def database_url(make_database: Callable[[str], str]) -> str:
    url = make_database("documents_made_once")
    Migrations(url).up()
    return url


@pytest.fixture(params=[list_statement, list_statement_v2], ids=["plain", "v2"])
async def service(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[CardService]:
    async with open_plain(database_url, request.param) as made:
        yield made


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


async def test_no_plan_makes_its_document_twice(service: CardService, monkeypatch: pytest.MonkeyPatch) -> None:
    database = service._database
    card = (await database.row("SELECT id FROM cards ORDER BY id LIMIT 1") or (None,))[0]
    seen: list[tuple[Any, Any]] = []
    real = database.row

    async def row(sql: Any, params: Any = None, **options: Any) -> Any:
        seen.append((sql, params))
        return await real(sql, params, **options)

    monkeypatch.setattr(database, "row", row)
    await service.cards(CardFilter())
    await service.cards(CardFilter(q="service"))
    await service.cards(CardFilter(tags=("cloud",)))
    await service.relationships(RelationshipFilter(card_id=card))
    await service.graph(GraphQuery(center_card_id=card, depth=2))
    await service.graph_stats()
    assert len(seen) == 6
    for sql, params in seen:
        explained = await real("EXPLAIN (VERBOSE, FORMAT JSON) " + sql, params, prepare=False)
        assert explained is not None
        text = explained[0] if isinstance(explained[0], str) else json.dumps(explained[0])
        plan = json.loads(text)[0]["Plan"]
        outputs = [out for node in _nodes(plan) for out in node.get("Output", [])]
        assert sum("convert_to(" in out for out in outputs) == 1, sql
