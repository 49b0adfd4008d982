"""A FastAPI service in front of another cache library: card detail and list, used as the library's documentation shows.

PEER, BARE_REDIS_URL and PEER_DATABASE_URL say which library, Redis and database.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from archzero_lab.postgres.pool import Database
from archzero_lab.settings import CacheSettings, PoolSettings
from archzero_lab.systems.arczero.cards.model import CardFilter
from archzero_lab.systems.arczero.cards.service import CardService
from archzero_lab.systems.arczero.peers import PeerCards, open_peer

_open: dict[str, PeerCards] = {}


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    database = Database(os.environ["PEER_DATABASE_URL"], PoolSettings())
    await database.open()
    name = os.environ["PEER"]
    cards = CardService(database)
    async with open_peer(name, os.environ["BARE_REDIS_URL"], f"peer-{name}", cards, CacheSettings()) as peer:
        _open["peer"] = peer
        yield
    await database.close()


app = FastAPI(lifespan=_lifespan)


@app.get("/api/v1/cards/{card_id}")
async def card(card_id: uuid.UUID) -> Any:
    """One card: the cached value, encoded by FastAPI."""
    return await _open["peer"].cache.card(str(card_id))


@app.get("/api/v1/cards")
async def cards(page: int = 1, pageSize: int = 20) -> Any:  # the contract's name
    """A page of cards."""
    return await _open["peer"].page_data(CardFilter(page=page, page_size=pageSize))
