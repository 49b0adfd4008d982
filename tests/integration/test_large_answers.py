"""What is too large for Redis to take in time is not kept there."""

from __future__ import annotations

import uuid

import pytest

from archzero_lab.systems.arczero.cache import announcements, cached_reads, store
from archzero_lab.systems.arczero.cards.model import CardDraft, CardPatch, CardType
from tests.integration.conftest import Cached


async def test_an_answer_that_is_too_large_is_not_kept_and_nobody_waits_for_it(
    cached: Cached, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (store, cached_reads, announcements):
        monkeypatch.setattr(module, "MOST_BYTES", 100)
    card_id, document = await cached.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
    assert len(document.body) > 100
    key = cached.keys.card(card_id)
    for change in (None, CardPatch(quality_score=3)):
        if change is not None:
            await cached.cards.update_card(card_id, change)
        await cached.cards.card(card_id)
        lease = await cached.store.lease(key)
        assert lease is not None
        assert (lease.state, lease.value) == ("granted", None)
        await cached.store.release(key, lease)
