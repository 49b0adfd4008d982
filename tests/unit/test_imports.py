"""A large import is read in slices of the event loop, few at a time: others are answered meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from archzero_lab.postgres.fair_turns import CLIENT, FairTurns
from archzero_lab.systems.arczero.api import imports
from archzero_lab.systems.arczero.cards import slices
from archzero_lab.systems.arczero.cards.model import Unavailable

_LINES = 2_000


@pytest.mark.parametrize(
    ("kind", "media_type", "body"),
    [
        ("cards", "text/csv", "name,type\n" + "".join(f"card {n},Risk\n" for n in range(_LINES))),
        ("cards", "text/csv", "name,type\n" + "\n" * _LINES + "card,Risk\n"),
        ("cards", "text/csv", "\n" * _LINES + "name,type\ncard,Risk\n"),
        ("cards", "application/x-ndjson", "".join(f'{{"name": "card {n}", "type": "Risk"}}\n' for n in range(_LINES))),
        ("cards", "application/x-ndjson", "\n" * _LINES + '{"name": "card", "type": "Risk"}'),
    ],
    ids=["csv", "csv of blank lines", "csv that begins with blank lines", "json", "json of blank lines"],
)
def test_others_have_their_turn_at_each_line_that_ends_a_slice(
    monkeypatch: pytest.MonkeyPatch, kind: str, media_type: str, body: str
) -> None:
    clock = itertools.count()  # each look at it is a slice later
    monkeypatch.setattr(slices.time, "perf_counter", lambda: float(next(clock)))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def counted(rows: list[Any]) -> int:
        return len(rows)

    async def given() -> bytes:
        return body.encode()

    async def imported() -> Any:
        other = asyncio.ensure_future(others())
        try:
            request: Any = SimpleNamespace(headers={"content-type": media_type}, body=given)
            cards: Any = SimpleNamespace(import_cards=counted, import_relationships=counted)
            return await imports.import_rows.fn(cards, request, kind)
        finally:
            other.cancel()

    answer = asyncio.run(imported())
    assert answer.content["imported"] == sum(line.startswith(("card", "{")) for line in body.splitlines())
    assert turns >= _LINES


class _Held:
    """An import whose body comes when it is let."""

    def __init__(self, text: bytes = b"name,type\ncard,Risk\n") -> None:
        self.let, self.asked, self._text = asyncio.Event(), False, text
        self.headers = {"content-type": "text/csv"}

    async def body(self) -> bytes:
        self.asked = True
        await self.let.wait()
        return self._text


def _import(held: _Held, client: str) -> asyncio.Task[Any]:
    async def counted(rows: list[Any]) -> int:
        return len(rows)

    async def run() -> Any:
        CLIENT.set(client)
        cards: Any = SimpleNamespace(import_cards=counted, import_relationships=counted)
        request: Any = held
        return await imports.import_rows.fn(cards, request, "cards")

    return asyncio.ensure_future(run())


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "_turns", FairTurns(imports.AT_ONCE, imports.OF_ONE))


@pytest.mark.usefixtures("turns")
async def test_a_client_s_third_import_waits_unread_and_another_s_does_not() -> None:
    mine, other = [_Held() for _ in range(3)], _Held()
    tasks = [*(_import(held, "mine") for held in mine), _import(other, "other")]
    await _settle()
    assert [held.asked for held in (*mine, other)] == [True, True, False, True]
    mine[0].let.set()
    await _settle()
    assert mine[2].asked
    for held in (*mine, other):
        held.let.set()
    assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [201] * 4


@pytest.mark.usefixtures("turns")
async def test_who_waits_too_long_for_a_turn_is_refused_and_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "_LONGEST_WAIT_S", 0.01)
    held = [_Held() for _ in range(imports.OF_ONE)]
    tasks = [_import(one, "mine") for one in held]
    late = _Held()
    with pytest.raises(Unavailable, match="too many imports at once"):
        await _import(late, "mine")
    assert not late.asked
    for one in held:
        one.let.set()
    await asyncio.gather(*tasks)
    late.let.set()
    assert (await _import(late, "mine")).status_code == 201


@pytest.mark.usefixtures("turns")
async def test_a_body_that_does_not_come_gives_its_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "_LONGEST_BODY_S", 0.01)
    for _ in range(2 * imports.OF_ONE):
        answer = await _import(_Held(), "mine")
        assert answer.status_code == 408
