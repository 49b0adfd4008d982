"""What the tests of the card contract ask: every read twice, a load and then a hit."""

from __future__ import annotations

import json
import uuid
from typing import Any

from archzero_lab.systems.arczero.cards.model import CardDraft, CardFilter, CardType
from archzero_lab.systems.arczero.cards.protocol import Cards


async def listed(cards: Cards, **question: Any) -> dict[str, Any]:
    first = await cards.cards(CardFilter(**question))
    again = await cards.cards(CardFilter(**question))
    assert first == again
    found: dict[str, Any] = json.loads(first.body)
    return found


async def created(cards: Cards, **fields: Any) -> tuple[uuid.UUID, dict[str, Any]]:
    draft = {"name": f"Card {uuid.uuid4()}", "type": CardType.Risk, **fields}
    card_id, document = await cards.create_card(CardDraft(**draft))
    return card_id, json.loads(document.body)


async def card_of(cards: Cards, card_id: uuid.UUID) -> dict[str, Any]:
    first, again = await cards.card(card_id), await cards.card(card_id)
    assert first == again
    found: dict[str, Any] = json.loads(first.body)
    return found
