"""Every arm answers every question alike, by pages and by cursor, fresh and with edits between the questions."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import psycopg
import pytest

from archzero_lab.postgres.migrations import Migrations
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cards.model import (
    CardFilter,
    CardPatch,
    CardRow,
    CardStatus,
    CardType,
    Cursor,
    LifecyclePhase,
)
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.search_v2 import list_statement_v2
from archzero_lab.systems.arczero.cards.service import CardService
from tests.integration.conftest import open_cached, open_plain

OWNER = uuid.UUID(int=1)
TEXTS = (
    "a", "aa", "alpha", "ALPHA", "alpha beta", "beta alpha", "the", "of the and", "ß", "ẞ", "ss", "SS", "straße",
    "STRASSE", "İ", "\u0131", "i", "istanbul", "İstanbul", "é", "É", "café", "cafe", "%", "_", "100%", "\\", "a\\b",
    "'", '"', "it's", "&", "|", "!", "(", ":*", "a & b", "日", "日本語", "😀", "👨\u200d👩\u200d👧", "\u200d", "\u202e",
    "\t", "tab\tname", "\n", " ", "  ", "a b", "a  b", " a", "a ", "ς", "Σ", "ΣΑΣ", "ﬁ", "file", "K", "Å", "å", "ǆ",
    "x" * 200, "--", "/*", "$1", "%s", "{}", "0", ".", "alpha.", "alpha alpha",
)  # fmt: skip
FILTERS: tuple[CardFilter, ...] = tuple(
    CardFilter(type=kind, lifecycle_phase=phase, min_quality=quality, tags=tags, status=status, owner_id=owner)
    for kind in (None, CardType.Risk)
    for phase, quality in ((None, None), (LifecyclePhase.Active, 51), (None, 51))
    for tags in ((), ("a",), ("prod", "x y"))
    for status, owner in ((None, None), (CardStatus.DRAFT, None), (None, OWNER))
) + tuple(
    CardFilter(attributes=json.dumps(value, separators=(",", ":")), status=None)
    for value in (
        {"n": 1},
        {"n": "1"},
        {"n": None},
        {"a": {"b": [2]}},
        {"": ""},
        {"k": "é"},
        {"t": True},
        {},
        {"a": {}},
    )
)
QUESTIONS = (*(CardFilter(q=text, status=None) for text in TEXTS), *FILTERS)


def awkward_cards(rng: random.Random) -> list[CardRow]:
    """Cards whose names, texts, tags and attributes are those that questions get wrong."""
    values = ({"n": 1}, {"n": "1"}, {"n": None}, {"a": {"b": [1, 2]}}, {"": ""}, {"k": "é", "t": True}, {})
    return [
        CardRow(
            name=f"{text.strip() or 'blank'} {number}"[:255],
            type=rng.choice([CardType.Risk, CardType.Application]),
            id=uuid.UUID(int=rng.getrandbits(128), version=4),
            lifecycle_phase=rng.choice([LifecyclePhase.Active, LifecyclePhase.Planning]),
            quality_score=rng.choice([0, 50, 51, 100]),
            description=f"{rng.choice(TEXTS)} {text} {rng.choice(TEXTS)}",
            owner_id=rng.choice([None, OWNER]),
            tags=rng.sample(["a", "é", "x y", "prod"], rng.randrange(3)),
            attributes=dict(rng.choice(values)),
            status=rng.choice([CardStatus.ACTIVE, CardStatus.DRAFT]),
        )
        for number, text in enumerate(2 * TEXTS)
    ]


@dataclass
class Arms:
    """Services by the name of their arm, and of each database one by which all of its edits go."""

    services: dict[str, Cards]
    writers: list[Cards]
    ids: list[uuid.UUID]


@pytest.fixture
async def arms(stack: Stack, make_database: Callable[[str], str]) -> AsyncIterator[Arms]:
    """Control, phase 5's indexes and index set v2, with a cache and without, on the same cards."""
    urls = {name: make_database(f"alike_{name}") for name in ("control", "phase5", "v2")}
    Migrations(urls["phase5"]).up(index_set="phase5")
    Migrations(urls["v2"]).up()
    rows = awkward_cards(random.Random(5))
    for url in urls.values():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DELETE FROM cards")
    async with AsyncExitStack() as closing:
        enter = closing.enter_async_context
        control = await enter(open_plain(urls["control"]))
        phase5 = await enter(open_cached(urls["phase5"], stack.redis_url))
        v2 = await enter(open_cached(urls["v2"], stack.redis_url))
        v2.plain._lists = list_statement_v2
        writers: list[Cards] = [control, phase5.cards, v2.cards]
        for writer in writers:
            await writer.import_cards(rows)
        # creation times decide the order: the same in every database
        for url in urls.values():
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(
                    "UPDATE cards SET created_at = timestamptz '2026-01-01' + hashtext(id::text) % 50 * interval '1 s'"
                )
        yield Arms(
            {
                "control": control,
                "indexes": phase5.plain,
                "treatment": phase5.cards,
                "v2": v2.plain,
                "v2-cache": v2.cards,
            },
            writers,
            [row.id for row in rows if row.id is not None],
        )


async def walk(cards: Cards, question: CardFilter, *, by_cursor: bool) -> list[str]:
    """The ids of all pages."""
    found: list[str] = []
    page = 1
    while True:
        answer = json.loads((await cards.cards(question)).body)
        found += [card["id"] for card in answer["data"]]
        page += 1
        if by_cursor:
            if answer["nextCursor"] is None:
                break
            question = replace(question, cursor=Cursor.decode(answer["nextCursor"]))
        elif len(answer["data"]) < question.page_size:
            break
        else:
            question = replace(question, page=page)
    if answer["totalRelation"] == "eq":
        assert answer["total"] == len(found)
    return found


async def compare(arms: Arms, question: CardFilter, size: int) -> int:
    """How many cards every arm answered, in the same order by both ways."""
    asked = replace(question, page_size=size)
    wanted = await walk(arms.services["control"], asked, by_cursor=False)
    assert len(set(wanted)) == len(wanted)
    for name, service in arms.services.items():
        for by_cursor in (False, True):
            assert await walk(service, asked, by_cursor=by_cursor) == wanted, (name, by_cursor, asked)
    return len(wanted)


async def edit(arms: Arms, rng: random.Random) -> None:
    """The same change in every database."""
    card_id = rng.choice(arms.ids)
    patch = rng.choice(
        [
            CardPatch(name=f"edited {rng.getrandbits(40)} {rng.choice(['straße', 'İstanbul', '日本', 'a b'])}"),
            CardPatch(status=rng.choice([CardStatus.ACTIVE, CardStatus.DRAFT])),
            CardPatch(tags=rng.sample(["a", "é", "prod"], 2)),
            CardPatch(quality_score=rng.choice([0, 51])),
            CardPatch(description=f"alpha {rng.choice(TEXTS)[:50]}"),
            CardPatch(owner_id=rng.choice([None, OWNER])),
            None,
        ]
    )
    if patch is None:
        arms.ids.remove(card_id)
    for writer in arms.writers:
        if patch is None:
            await writer.delete_card(card_id)
        else:
            await writer.update_card(card_id, patch)


async def test_all_arms_answer_the_same_in_the_same_order_with_edits_between_the_questions(arms: Arms) -> None:
    rng = random.Random(3)
    answered = 0
    for question in QUESTIONS:
        answered += await compare(arms, question, rng.choice([7, 50, 100]))
    assert answered > 20 * len(QUESTIONS), "the questions find something"
    for question in rng.sample(QUESTIONS, 60):
        await edit(arms, rng)
        await compare(arms, question, rng.choice([7, 50]))
    assert isinstance(arms.services["control"], CardService)
