"""What a cached service must do whatever its Redis is made of."""

from __future__ import annotations

import asyncio
import json
import time
import uuid

import pytest

from archzero_lab.systems.arczero.cards.model import CardDraft, CardFilter, CardPatch, CardType, NotFound
from tests.integration.conftest import Cached, until


async def exercise(service: Cached) -> None:
    """Write and read through the cache: everything seen at once, the second read a hit."""
    word = uuid.uuid4().hex
    card_id, _ = await service.cards.create_card(CardDraft(f"Card {word}", CardType.Risk, quality_score=1))
    for score in range(5):
        await service.cards.update_card(card_id, CardPatch(quality_score=score))
        assert json.loads((await service.cards.card(card_id)).body)["qualityScore"] == score
        page = json.loads((await service.cards.cards(CardFilter(q=word))).body)
        assert [card["qualityScore"] for card in page["data"]] == [score]
    documents = await asyncio.gather(*(service.cards.card(card_id) for _ in range(50)))
    assert len(set(documents)) == 1
    deadline = time.monotonic() + 20
    while not await service.store.flush():  # a connection that was lost just now: the flush is owed, and says so
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await service.cards.delete_card(card_id)
    with pytest.raises(NotFound):
        await service.cards.card(card_id)
    assert (await service.store.health())["connected"] is True


async def until_licensed(service: Cached) -> None:
    async def licensed() -> bool:
        return service.store.link.licensed

    await until(licensed, 60)
