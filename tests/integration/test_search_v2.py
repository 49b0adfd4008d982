"""Index set v2: its statements answer what the plain ones do, whatever is asked and however the cards changed."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from conftest import open_plain

from archzero_lab.postgres.migrations import Migrations
from archzero_lab.systems.arczero.cards import by_week, search_v2
from archzero_lab.systems.arczero.cards.model import CardFilter, CardStatus, CardType, Cursor, LifecyclePhase
from archzero_lab.systems.arczero.cards.search_v2 import list_statement_v2
from archzero_lab.systems.arczero.cards.service import CardService
from tests.integration.v2_cards import insert

ODD_TEXTS = (
    "100% of_all\\none", "tab\there", "line\nbreak", "no\u00a0break",
    "Straße ÅNGSTRÖM ΟΔΟΣ", "日本語 カード", "a", "", "  two  spaces ",
    "C++/C# (v1.2-beta), 'quoted' \"twice\"", "{json: [1, 2]}", "emoji 🚀 rocket", "x" * 300, "İstanbul ǅ ﬁne",
)  # fmt: skip
SEARCHES = (
    "a", "e", "7", "ß", "日", "🚀", "xq", "77", "la", "..", "%", "_", "\\", "%_", " ", "  ", "\t", "c++",
    "(v1", "1.2-b", "service",
    "SERVICE", "erVic", "gateway platform", "data pl", "m d", "ångström", "οδος", "ΟΔΟΣ", "straße", "strasse",
    "line\nbreak",
    "no\u00a0break", "ﬁne", "İ", "i̇", "xxxxxxxxxx", "nothing-like-it", "two  spaces", "'quoted'", "'; --", "json: [",
    " odd", "odd ", " 1 ", "straße å", "rocket ", "e r", "İstanbul ǅ", "n İ", "ΔΟΣ ", "\ttwo\t", "card odd service",
)  # fmt: skip


@pytest.fixture(scope="module")
def database_url(make_database: Callable[[str], str]) -> str:
    url = make_database("search_v2")
    Migrations(url).up()
    with psycopg.connect(url) as connection:
        for number, text in enumerate(ODD_TEXTS):
            insert(connection, f"Odd {number} {text}"[:255].replace("\x00", ""), text)
            insert(connection, text or f"Odd name {number}", "")
    return url


@pytest.fixture
async def plain(database_url: str) -> AsyncIterator[CardService]:
    async with open_plain(database_url) as service:
        yield service


@pytest.fixture
async def fitted(database_url: str) -> AsyncIterator[CardService]:
    async with open_plain(database_url, list_statement_v2) as service:
        yield service


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as made:
        yield made


def _look_at(monkeypatch: pytest.MonkeyPatch, cards: int) -> None:
    for module, name in ((search_v2, "_LOOKED_AT"), (search_v2, "_LOOKED_AT_FOR_TEXT"), (by_week, "_LOOKED_AT")):
        monkeypatch.setattr(module, name, cards)


async def _same(plain: CardService, fitted: CardService, question: CardFilter) -> dict[str, Any]:
    right, found = json.loads((await plain.cards(question)).body), json.loads((await fitted.cards(question)).body)
    assert found["data"] == right["data"], question
    assert found.get("nextCursor") == right.get("nextCursor"), question
    if found["totalRelation"] == "eq":
        assert found["total"] == right["total"], question
    else:
        paged = question.cursor is None and right["data"]
        shown = (question.page - 1) * question.page_size + len(right["data"]) if paged else 0
        assert shown <= found["total"] <= right["total"], question
    answer: dict[str, Any] = found
    return answer


@pytest.mark.parametrize(
    ("looked_at", "most_words"),
    [(5_000, 5_000), (-480, 5_000), (-480, 3)],
    ids=["found-nearby", "found-by-words", "too-many-words"],
)
async def test_a_search_for_any_text_finds_what_ilike_finds(
    plain: CardService, fitted: CardService, monkeypatch: pytest.MonkeyPatch, looked_at: int, most_words: int
) -> None:
    monkeypatch.setattr(search_v2, "MOST_WORDS", most_words)
    monkeypatch.setattr(search_v2, "MOST_WORDS_BESIDE", most_words // 2)
    _look_at(monkeypatch, looked_at)
    for text in SEARCHES:
        for status in (CardStatus.ACTIVE, None):
            found = await _same(plain, fitted, CardFilter(q=text, status=status))
            if found["total"] < 20:  # the page was not filled from nearby, so every card was found
                assert found["totalRelation"] == "eq"


async def test_pieces_of_what_is_there_are_found_with_any_filter_beside_them_on_any_page(
    plain: CardService, fitted: CardService, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_at(monkeypatch, 30)
    rows = connection.execute("SELECT name, description, owner_id, tags FROM cards").fetchall()
    rng = random.Random(5)
    for _ in range(150):
        name, description, owner, tags = rng.choice(rows)
        text = rng.choice([name, description]) or name
        begin = rng.randrange(len(text))
        question = CardFilter(
            q=text[begin : begin + rng.choice([1, 2, 3, 5, 9, 30])],
            type=rng.choice([None, *CardType]),
            lifecycle_phase=rng.choice([None, None, *LifecyclePhase]),
            status=rng.choice([None, CardStatus.ACTIVE]),
            owner_id=rng.choice([None, None, owner]),
            min_quality=rng.choice([None, None, 60]),
            tags=tuple(tags[:1]) if rng.random() < 0.2 else (),
            page=rng.choice([1, 1, 2, 5]),
            page_size=rng.choice([1, 5, 20]),
        )
        await _same(plain, fitted, question)


async def test_filters_without_a_text_show_the_same_pages_and_no_total_that_is_too_high(
    plain: CardService, fitted: CardService, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_v2, "COUNTED", 40)
    _look_at(monkeypatch, 60)
    owners = [row[0] for row in connection.execute("SELECT DISTINCT owner_id FROM cards LIMIT 5").fetchall()]
    rng, relations = random.Random(6), set()
    for _ in range(200):
        question = CardFilter(
            type=rng.choice([None, None, *CardType]),
            lifecycle_phase=rng.choice([None, None, *LifecyclePhase]),
            status=rng.choice([None, *CardStatus]),
            owner_id=rng.choice([None, None, *owners]),
            min_quality=rng.choice([None, None, 0, 50, 90, 100]),
            tags=rng.choice([(), (), ("cloud",), ("cloud", "nosuch")]),
            attributes=rng.choice([None, None, '{"tier":1}', '{"region":"emea","tier":2}', '{"no":1}']),
            page=rng.choice([1, 2, 40]),
            page_size=rng.choice([5, 20]),
        )
        relations.add((await _same(plain, fitted, question))["totalRelation"])
    assert relations == {"eq", "gte"}


@pytest.mark.parametrize(
    "question",
    [
        CardFilter(), CardFilter(q="service"), CardFilter(q="xq"), CardFilter(min_quality=80),
        CardFilter(tags=("cloud",)), CardFilter(attributes='{"tier":1}'),
        CardFilter(tags=("cloud", "saas"), attributes='{"tier":2}', status=None),
        CardFilter(q="a d", status=None), CardFilter(q="e c"),
    ],
)  # fmt: skip
async def test_a_walk_by_cursor_meets_every_card_once(
    plain: CardService, fitted: CardService, question: CardFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_at(monkeypatch, 50)
    seen: list[str] = []
    page = await _same(plain, fitted, replace(question, page_size=100))
    while page.get("nextCursor"):
        seen += [card["id"] for card in page["data"]]
        page = await _same(
            plain, fitted, replace(question, page_size=100, cursor=Cursor.decode(page["nextCursor"]))
        )  # fmt: skip
    seen += [card["id"] for card in page["data"]]
    total = json.loads((await plain.cards(question)).body)["total"]
    assert len(seen) == len(set(seen)) == total


async def test_weeks_far_apart_and_on_their_edges_are_walked_one_after_the_other(
    plain: CardService, fitted: CardService, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_at(monkeypatch, 1)
    monkeypatch.setattr(by_week, "AT_A_TIME", 2)
    monkeypatch.setattr(search_v2, "AT_A_TIME", 2)
    dates = (
        "4713-01-01 BC", "0001-01-01 BC", "0001-06-01", "1900-01-01", "1999-12-31 23:59:59.999999+00",
        "2000-01-03 00:00+00", "2000-01-03 00:00:00.000001+00", "2026-03-29 00:00+00",
        "2026-03-30 00:00+00", "2199-12-31",
    )  # fmt: skip
    for number, date in enumerate(dates):
        card = insert(connection, f"Faraway edge {number}", "far edge of a week")
        connection.execute(
            "UPDATE cards SET created_at = %s::timestamptz, tags = %s, attributes = %s WHERE id = %s",
            [date, '["faraway"]', '{"far": 1}', card],
        )
    connection.execute("SELECT card_changes_fold()")
    for question in (
        CardFilter(tags=("faraway",), page_size=3), CardFilter(attributes='{"far":1}', page_size=3),
        CardFilter(q="far edge", page_size=3), CardFilter(tags=("faraway", "cloud"), page_size=7),
    ):  # fmt: skip
        for page in (1, 2, 3, 4):
            await _same(plain, fitted, replace(question, page=page))
    connection.execute("DELETE FROM cards WHERE tags ? 'faraway'")


async def test_totals_and_searches_are_exact_after_any_changes_folded_or_not(
    plain: CardService, fitted: CardService, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_at(monkeypatch, 1)
    rng = random.Random(7)
    ids = [row[0] for row in connection.execute("SELECT id FROM cards ORDER BY id LIMIT 60").fetchall()]
    for number in range(120):
        word = f"w{number}w"
        match rng.randrange(6):
            case 0:
                ids.append(insert(connection, f"New {word} {uuid.uuid4()}", "text"))
            case 1:
                connection.execute("UPDATE cards SET description = %s WHERE id = %s", [word, rng.choice(ids)])
            case 2:
                change = ["Retired", rng.choice(["Risk", "Platform"]), rng.choice(["active", "draft"]), rng.choice(ids)]
                connection.execute(
                    "UPDATE cards SET lifecycle_phase = %s, type = %s, status = %s WHERE id = %s", change
                )
            case 3:
                connection.execute("DELETE FROM cards WHERE id = %s", [ids.pop(rng.randrange(len(ids)))])
            case 4:
                connection.execute("UPDATE cards SET quality_score = 1, version = version + 1 WHERE id = %s", [ids[0]])
            case _:
                connection.execute("SELECT card_changes_fold()")
        for question in (
            CardFilter(), CardFilter(status=None), CardFilter(type=CardType.Risk), CardFilter(status=CardStatus.DRAFT),
            CardFilter(lifecycle_phase=LifecyclePhase.Retired, type=CardType.Platform), CardFilter(q=word, status=None),
        ):  # fmt: skip
            found = await _same(plain, fitted, question)
            assert found["totalRelation"] == "eq"
