"""A large import is read in slices of the event loop: others are answered meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from archzero_lab.systems.arczero.api import imports
from archzero_lab.systems.arczero.cards import slices

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
