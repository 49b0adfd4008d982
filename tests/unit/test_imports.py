"""A large import is read beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from archzero_lab.systems.arczero.api import imports


@pytest.mark.parametrize("kind", ["cards", "relationships"])
def test_others_have_their_turn_while_rows_are_read(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    turn = threading.Event()

    def rows_when_others_had_their_turn(*_: Any, **__: Any) -> Iterator[bool]:
        yield turn.wait(timeout=10)

    async def counted(rows: list[bool]) -> int:
        return sum(rows)

    async def body() -> bytes:
        asyncio.get_running_loop().call_later(0.01, turn.set)
        return b""

    monkeypatch.setattr(imports, "parse_rows", rows_when_others_had_their_turn)
    request: Any = SimpleNamespace(headers={"content-type": "text/csv"}, body=body)
    cards: Any = SimpleNamespace(import_cards=counted, import_relationships=counted)
    answer = asyncio.run(imports.import_rows.fn(cards, request, kind))
    assert answer.content == {"imported": 1}
