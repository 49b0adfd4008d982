"""Both ways to an answer, in front of the framework and through it, ask once and say the same, byte for byte."""

from __future__ import annotations

import uuid
import warnings
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from archzero_lab.systems.arczero.api.app import create_app
from archzero_lab.systems.arczero.api.fast_path import FastPath
from archzero_lab.systems.arczero.api.service import Service
from archzero_lab.systems.arczero.cards.model import CardFilter, Document, NotFound, Unavailable
from archzero_lab.systems.arczero.cards.request_context import STRICT

HERE, AWAY, BUSY, BROKEN = (uuid.UUID(int=number) for number in range(1, 5))
FAILS = {AWAY: NotFound("no such card"), BUSY: Unavailable("all busy"), BROKEN: RuntimeError("a fault")}


class CountingCards:
    """Cards that count how often they are asked, and for whom."""

    def __init__(self) -> None:
        self.asked: Counter[object] = Counter()
        self.strict: list[bool] = []

    async def card(self, card_id: uuid.UUID) -> Document:
        return self._answer(card_id)

    async def cards(self, question: CardFilter) -> Document:
        return self._answer(question)

    def _answer(self, what: object) -> Document:
        self.asked[what] += 1
        self.strict.append(STRICT.get())
        if what in FAILS:
            raise FAILS[what]  # type: ignore[index]
        return Document(b'{"id":1}', "7", 7)


class Opened:
    """The application in front of a counting service, with the fast path and without."""

    def __init__(self) -> None:
        self.cards = CountingCards()
        service: Any = Service(self.cards, None, "", lambda: None, dict, lambda: None, lambda: b"")  # type: ignore[arg-type]

        @asynccontextmanager
        async def opened() -> AsyncIterator[Service]:
            yield service

        self._app = create_app(opened)
        self._app.state.service = service
        self._fast = FastPath(self._app)

    async def get(self, path: str, *, fast: bool, **headers: str) -> httpx.Response:
        # upper-case digits and hyphens left out are an id too, which only the framework reads
        application: Any = self._fast if fast else self._app
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(path, headers=headers)

    def asks(self, path: str, query: str) -> object:
        return self._fast.asks(path, query.encode())


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("card", "status"), [(HERE, 200), (AWAY, 404), (BUSY, 503), (BROKEN, 500)])
async def test_a_card_is_asked_for_once_whatever_comes(
    opened: Opened, card: uuid.UUID, status: int, fast: bool
) -> None:
    answer = await opened.get(f"/api/v1/cards/{card}", fast=fast)
    assert answer.status_code == status
    assert opened.cards.asked == {card: 1}
    if status != 200:
        assert set(answer.json()["error"]) == {"code", "message"}


@pytest.mark.parametrize(
    "headers",
    [{}, {"If-None-Match": '"7"'}, {"If-None-Match": 'W/"7", "8"'}, {"If-None-Match": "*"}, {"If-None-Match": '"8"'}],
)
@pytest.mark.parametrize("card", [HERE, AWAY, BUSY, BROKEN])
async def test_both_ways_say_the_same(opened: Opened, card: uuid.UUID, headers: dict[str, str]) -> None:
    ways = [await opened.get(f"/api/v1/cards/{card}", fast=fast, **headers) for fast in (True, False)]
    assert ways[0].status_code == ways[1].status_code
    assert ways[0].content == ways[1].content
    assert dict(ways[0].headers) == dict(ways[1].headers)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("header", "strict"),
    [
        ("no-cache", True),
        ("no-cache, no-store", True),
        ("max-age=0, No-Store", True),
        ("max-age=60", False),
        ("", False),
    ],
)
async def test_a_strict_read_is_strict_on_either_way(opened: Opened, header: str, strict: bool, fast: bool) -> None:
    await opened.get(f"/api/v1/cards/{HERE}", fast=fast, **{"Cache-Control": header})
    assert opened.cards.strict == [strict]


async def test_a_list_that_was_asked_for_before_is_answered_in_front_of_the_framework(opened: Opened) -> None:
    first = await opened.get("/api/v1/cards?page=2", fast=True)
    again = await opened.get("/api/v1/cards?page=2", fast=True)
    assert first.content == again.content
    assert dict(first.headers) == dict(again.headers)
    assert list(opened.cards.asked.values()) == [2]


def test_the_application_starts_where_warnings_are_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Opened()


async def test_a_long_query_string_is_not_remembered(opened: Opened) -> None:
    for query, kept in (
        ("q=short", True),
        ("q=long&tags=" + ",".join(f"t{n:04}" for n in range(40)) + "&a=" + "x" * 900, False),
    ):
        answer = await opened.get(f"/api/v1/cards?{query}", fast=True)
        assert answer.status_code == 200
        assert (opened.asks("/api/v1/cards", query) is not None) is kept
