"""What a write changes and what an entry depends on have the same names: a change of an answer is never missed."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from archzero_lab.postgres.connection import connect
from archzero_lab.systems.arczero.cache import dependencies
from archzero_lab.systems.arczero.cards.model import (
    CardFilter,
    CardStatus,
    CardType,
    GraphQuery,
    LifecyclePhase,
    RelationshipFilter,
    RelationshipType,
)
from tests.integration.conftest import open_plain

_OWNERS = [uuid.UUID(int=number) for number in (1, 2)]
_TYPES = [CardType.Risk, CardType.Platform]
_PHASES = [LifecyclePhase.Active, LifecyclePhase.Retired]
_TAGS = ["cloud", "core", "ünder"]
_PIECES = [
    "ab",
    "abc",
    "bcd",
    "Ärger",
    "\u212aelvin",
    "\u0130x",
    "straße",
    "%",
    "_",
    "\\",
    "é",
    "e\u0301",
    "ΣΟΦΟΣ",
    "  ",
    "😀",
]


def _text(rng: random.Random, most: int = 4) -> str:
    return "".join(rng.choices(_PIECES, k=rng.randint(0, most)))


def _row(rng: random.Random) -> dict[str, Any]:
    return {
        "name": f"{_text(rng)} {rng.randrange(10**9)}", "type": rng.choice(_TYPES),
        "lifecycle_phase": rng.choice(_PHASES),
        "quality_score": rng.randint(0, 100), "description": _text(rng, 8), "owner_id": rng.choice([None, *_OWNERS]),
        "tags": json.dumps(rng.sample(_TAGS, rng.randint(0, 2))),
        "attributes": json.dumps({key: rng.randint(0, 2) for key in rng.sample("kl", rng.randint(0, 2))}),
        "status": rng.choice(["active", "draft"]),
    }  # fmt: skip


def _question(rng: random.Random, texts: list[str]) -> CardFilter:
    text = rng.choice(texts)
    at = rng.randrange(max(1, len(text)))
    q = (text[at : at + rng.randint(1, 7)].strip() or None) if rng.random() < 0.6 else None
    return CardFilter(
        q=q.swapcase() if q and rng.random() < 0.3 else q,
        type=rng.choice([None, None, None, *_TYPES]), lifecycle_phase=rng.choice([None, None, None, None, *_PHASES]),
        status=rng.choice([None, None, CardStatus.ACTIVE]), owner_id=rng.choice([None] * 6 + _OWNERS),
        min_quality=rng.choice([None, None, None, rng.randint(0, 100)]),
        tags=tuple(rng.sample(_TAGS, rng.choice([0, 0, 0, 1, 2]))),
        attributes=rng.choice([None, None, None, None, None, '{"k":1}', '{"k":1,"l":2}', "{}"]),
        page=rng.choice([1, 1, 2]), page_size=rng.choice([2, 5]),
    )  # fmt: skip


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with connect(database_url) as made:
        made.execute("SELECT set_config('archzero.origin', 'test', false)")
        made.commit()
        yield made


def _insert(connection: psycopg.Connection, row: dict[str, Any]) -> None:
    columns, places = ", ".join(row), ", ".join("%s" for _ in row)
    connection.execute(f"INSERT INTO cards ({columns}) VALUES ({places})".encode(), [*row.values()])


def _write(connection: psycopg.Connection, rng: random.Random) -> tuple[list[str], str]:
    """One random change of one random card by plain SQL, and what the outbox says of it."""
    connection.execute("DELETE FROM cache_outbox")
    found = connection.execute("SELECT id, name, description FROM cards ORDER BY random() LIMIT 1").fetchone()
    row, chance = _row(rng), rng.random()
    if found is None or chance < 0.15:
        columns = ", ".join(row)
        connection.execute(
            f"INSERT INTO cards ({columns}) VALUES ({', '.join('%s' for _ in row)})".encode(), [*row.values()]
        )
        what = "insert"
    elif chance < 0.3:
        connection.execute("DELETE FROM cards WHERE id = %s", [found[0]])
        what = "delete"
    else:
        some = {name: row[name] for name in rng.sample(list(row), rng.randint(1, 2))}
        if rng.random() < 0.5:  # a text that differs by a piece somewhere
            text, at = found[2], rng.randrange(len(found[2]) + 1)
            some = {"description": text[:at] + rng.choice([*_PIECES, ""]) + text[at + rng.randint(0, 2) :]}
        if rng.random() < 0.05:
            some = {"created_at": "2020-01-01"}
        sets = ", ".join(f"{name} = %s" for name in some)
        connection.execute(f"UPDATE cards SET {sets} WHERE id = %s".encode(), [*some.values(), found[0]])
        what = f"update {some}"
    rows = connection.execute("SELECT names FROM cache_outbox").fetchall()
    connection.commit()
    return [name for row in rows for name in row[0]], what


async def test_whatever_changes_an_answer_changes_something_that_it_depends_on(
    database_url: str, connection: psycopg.Connection
) -> None:
    rng = random.Random(17)
    connection.execute("TRUNCATE cards CASCADE")
    for _ in range(40):
        _write(connection, rng)
    changed = 0
    async with open_plain(database_url) as plain:
        for _ in range(60):
            texts = [row[0] for row in connection.execute("SELECT name || description FROM cards").fetchall()]
            connection.commit()
            held = []
            for _ in range(25):
                question = _question(rng, texts or ["x"])
                document = await plain.cards(question)
                held.append((question, document, set(dependencies.of_cards(question, document))))
            for _ in range(4):
                names, what = _write(connection, rng)
                left = []
                for question, document, depends in held:
                    now = await plain.cards(question)
                    if depends & set(names):
                        changed += now.etag != document.etag
                        continue
                    assert now.etag == document.etag, (what, question, document.body, now.body)
                    left.append((question, document, depends))
                held = left
    assert changed > 200, "it was tried"


CORNERS = {
    "a score of a list's very bound": ("quality_score = 70", "quality_score = 69", CardFilter(min_quality=70)),
    "a score below a bound inside a step": ("quality_score = 76", "quality_score = 74", CardFilter(min_quality=75)),
    "the kelvin sign, whose small letter is k": (
        "description = ''",
        "description = U&'\\212Aelvin'",
        CardFilter(q="kel"),
    ),
    "a score of a step's last": ("quality_score = 68", "quality_score = 69", CardFilter(min_quality=69)),
    "a capital with a dot, whose small letter is i": (
        "description = ''",
        "description = U&'t\\0130p'",
        CardFilter(q="tip"),
    ),
    "another letter of the same sign": ("description = 'xéx'", "description = 'xöx'", CardFilter(q="xöx")),
    "another place in the order": ("created_at = '2020-01-01'", "created_at = now()", CardFilter(page_size=1)),
    "a text put together by a cut": ("description = 'abc-def'", "description = 'abcdef'", CardFilter(q="abcdef")),
    "tags that are an object": ("tags = '[]'", "tags = '{\"cloud\": 1}'", CardFilter(tags=("cloud",))),
    "attributes that are no object any more": ("attributes = '{}'", "attributes = '[]'", CardFilter(attributes="{}")),
    "another id": ("quality_score = 1", "id = gen_random_uuid()", CardFilter(page_size=2)),
}


@pytest.mark.parametrize("corner", CORNERS)
async def test_a_corner_is_not_missed(database_url: str, connection: psycopg.Connection, corner: str) -> None:
    first, then, question = CORNERS[corner]
    connection.execute("TRUNCATE cards CASCADE")
    for number in range(2):
        _insert(connection, _row(random.Random(number)) | {"status": "active", "tags": "[]"})
    row = connection.execute("SELECT id FROM cards ORDER BY created_at DESC, id DESC LIMIT 1").fetchone()
    assert row is not None
    one = f"WHERE id = '{row[0]}'"
    connection.execute(f"UPDATE cards SET {first} {one}".encode())
    connection.commit()
    async with open_plain(database_url) as plain:
        before = await plain.cards(question)
        connection.execute("DELETE FROM cache_outbox")
        connection.execute(f"UPDATE cards SET {then} {one}".encode())
        names = {name for row in connection.execute("SELECT names FROM cache_outbox").fetchall() for name in row[0]}
        connection.commit()
        assert (await plain.cards(question)).etag != before.etag, "it does change the answer"
        shown = {dependencies.name_of("c", card["id"]) for card in json.loads(before.body)["data"]}
        found_by = set(dependencies.of_cards(question, before)) - shown
        assert names & (found_by | shown)
        if any(word in then for word in ("description", "quality", "tags", "created_at")):
            assert names & found_by, "who does not show the card yet learns of it as well"


async def test_whatever_changes_a_graph_or_a_list_of_relationships_changes_something_that_it_depends_on(
    database_url: str, connection: psycopg.Connection
) -> None:
    rng = random.Random(18)
    connection.execute("TRUNCATE cards CASCADE")
    for _ in range(30):
        _insert(connection, _row(rng))
    changed = 0

    def write() -> list[str]:
        connection.execute("DELETE FROM cache_outbox")
        chance = rng.random()
        if chance < 0.5:
            connection.execute(
                "INSERT INTO relationships (source_card_id, target_card_id, relationship_type)"
                " SELECT a.id, b.id, %s FROM (SELECT id FROM cards ORDER BY random() LIMIT 1) a,"
                " (SELECT id FROM cards ORDER BY random() LIMIT 1) b",
                [rng.choice([RelationshipType.reliesOn, RelationshipType.impacts])],
            )
        elif chance < 0.7:
            connection.execute(
                "DELETE FROM relationships WHERE id = (SELECT id FROM relationships ORDER BY random() LIMIT 1)"
            )
        elif chance < 0.75:
            connection.execute("DELETE FROM cards WHERE id = (SELECT id FROM cards ORDER BY random() LIMIT 1)")
        else:
            connection.execute(
                "UPDATE cards SET type = %s, quality_score = %s"
                " WHERE id = (SELECT id FROM cards ORDER BY random() LIMIT 1)",
                [rng.choice(_TYPES), rng.randint(0, 100)],
            )
        rows = connection.execute("SELECT names FROM cache_outbox").fetchall()
        connection.commit()
        return [name for row in rows for name in row[0]]

    async with open_plain(database_url) as plain:
        for _ in range(60):
            cards = [row[0] for row in connection.execute("SELECT id FROM cards").fetchall()]
            connection.commit()
            query = GraphQuery(
                rng.choice(cards), rng.randint(1, 3), card_types=tuple(rng.sample(_TYPES, rng.choice([0, 1]))),
                relationship_types=tuple(rng.sample([RelationshipType.reliesOn], rng.choice([0, 0, 1]))),
            )  # fmt: skip
            listed = RelationshipFilter(card_id=rng.choice([None, query.center_card_id]))
            graph, stats = await plain.graph(query), await plain.graph_stats()
            lists = await plain.relationships(listed)
            names = set(write())
            for before, depends, ask in (
                (graph, dependencies.of_graph(query, graph), lambda query=query: plain.graph(query)),
                (stats, dependencies.of_graph_stats(), plain.graph_stats),
                (lists, dependencies.of_relationships(listed), lambda listed=listed: plain.relationships(listed)),
            ):
                if names & set(depends):
                    changed += 1
                else:
                    assert (await ask()).etag == before.etag, (query, listed)
    assert changed > 50


def test_a_name_is_the_same_in_python_and_in_sql(connection: psycopg.Connection) -> None:
    for sort, what in (("t", "cloud"), ("x", "ab?"), ("a", "ünder"), ("c", str(uuid.UUID(int=7))), ("l", "")):
        row = connection.execute("SELECT cache_name(%s, %s)", [sort, what]).fetchone()
        assert row == (dependencies.name_of(sort, what),)
    for text in [*_PIECES, "abcd", "\u212a\u0130 Groß", "x" * 3]:
        size = 5 if len(text) > 4 else 3
        pieces = connection.execute("SELECT 'x' || cache_pieces(%s, %s)", [text, size]).fetchall()
        of_text = set(dependencies._of_text(text))
        assert {row[0] for row in pieces} == (of_text if len(text) > 2 else set())
    connection.commit()


def test_many_rows_at_once_are_not_named_but_whole_kinds(connection: psycopg.Connection) -> None:
    connection.execute("DELETE FROM cache_outbox")
    for count in (100, 101):
        connection.execute(
            "INSERT INTO cards (name, type, lifecycle_phase, quality_score, description)"
            " SELECT 'Many ' || %s || n, 'Risk', 'Active', 1, 'many' FROM generate_series(1, %s) n", [count, count],
        )  # fmt: skip
    rows = connection.execute("SELECT names IS NULL, cardinality(card_ids) FROM cache_outbox ORDER BY id").fetchall()
    connection.commit()
    assert rows == [(False, 100), (True, 101)]
