"""CachedCardService: cache_aside over any Cards, with every write going through the cache protocol."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable

from archzero_lab.cache.entries import Miss
from archzero_lab.cache.keys import Key, Kind
from archzero_lab.cache.single_flight import Flight, SingleFlight
from archzero_lab.cache.store import CacheStore
from archzero_lab.cache.usage import Usage
from archzero_lab.cards.model import (
    CardDraft,
    CardFilter,
    CardPatch,
    CardRow,
    Document,
    GraphQuery,
    RelationshipDraft,
    RelationshipFilter,
    RelationshipPatch,
)
from archzero_lab.cards.protocol import Cards
from archzero_lab.settings import CacheSettings

# what a write of a card can be seen in: lists and searches by its fields, graphs by its name and type
_CARD_GROUPS = (Kind.LIST, Kind.SEARCH, Kind.GRAPH)
_RELATIONSHIP_GROUPS = (Kind.RELATIONSHIPS, Kind.GRAPH)
_POLL_S = 0.01


class CachedCardService:
    """Implements cards.protocol.Cards: documents from Redis where it has them, else from `cards`, then stored.

    Without Redis it answers as `cards` does; nothing fails and nothing waits for it.
    """

    def __init__(self, cards: Cards, store: CacheStore, settings: CacheSettings, usage: Usage) -> None:
        self._cards = cards
        self._store = store
        self._keys = store.keys
        self._lease_s = settings.lease_s
        self._usage = usage
        self._flights = SingleFlight()

    async def card(self, card_id: uuid.UUID) -> Document:
        """One card. Raises NotFound."""
        document = await self._read(self._keys.card(card_id), lambda: self._cards.card(card_id))
        self._usage.card(card_id)  # only what was found: a warm must not ask for what is not there
        return document

    async def cards(self, question: CardFilter) -> Document:
        """A page of cards, newest first, with the total."""
        document = await self._read(self._keys.cards(question), lambda: self._cards.cards(question))
        self._usage.cards(question)
        return document

    async def relationships(self, question: RelationshipFilter) -> Document:
        """A page of relationships."""
        return await self._read(self._keys.relationships(question), lambda: self._cards.relationships(question))

    async def graph(self, query: GraphQuery) -> Document:
        """The neighbourhood of a card. Raises NotFound."""
        return await self._read(self._keys.graph(query), lambda: self._cards.graph(query))

    async def graph_stats(self) -> Document:
        """Counts over the whole graph."""
        return await self._read(self._keys.graph_stats(), self._cards.graph_stats)

    async def relationship(self, relationship_id: uuid.UUID) -> Document:
        """One relationship, never cached: nobody reads them one by one. Raises NotFound."""
        return await self._cards.relationship(relationship_id)

    async def create_card(self, draft: CardDraft) -> tuple[uuid.UUID, Document]:
        """Create a card. Raises Conflict."""
        card_id, document = await self._cards.create_card(draft)
        await self._store.written(None, "", None, _CARD_GROUPS)
        return card_id, document

    async def update_card(self, card_id: uuid.UUID, patch: CardPatch, if_version: int | None = None) -> Document:
        """Change a card. Raises NotFound, Conflict, VersionMismatch."""
        key = self._keys.card(card_id)
        token = await self._store.fence(key)
        try:
            document = await self._cards.update_card(card_id, patch, if_version)
        except BaseException:
            await self._store.unfence(key, token)
            raise
        await self._store.written(key, token, document, _CARD_GROUPS)
        return document

    async def delete_card(self, card_id: uuid.UUID, if_version: int | None = None) -> None:
        """Delete a card and its relationships. Raises NotFound, VersionMismatch."""
        key = self._keys.card(card_id)
        token = await self._store.fence(key)
        try:
            await self._cards.delete_card(card_id, if_version)
        except BaseException:
            await self._store.unfence(key, token)
            raise
        await self._store.written(key, token, None, (*_CARD_GROUPS, Kind.RELATIONSHIPS))

    async def import_cards(self, rows: list[CardRow]) -> int:
        """Create all the cards or none."""
        count = await self._cards.import_cards(rows)
        await self._store.written(None, "", None, _CARD_GROUPS)
        return count

    async def create_relationship(self, draft: RelationshipDraft) -> tuple[uuid.UUID, Document]:
        """Create a relationship. Raises InvalidReference."""
        relationship_id, document = await self._cards.create_relationship(draft)
        await self._store.written(None, "", None, _RELATIONSHIP_GROUPS)
        return relationship_id, document

    async def update_relationship(
        self, relationship_id: uuid.UUID, patch: RelationshipPatch, if_version: int | None = None
    ) -> Document:
        """Change a relationship. Raises NotFound, VersionMismatch."""
        document = await self._cards.update_relationship(relationship_id, patch, if_version)
        await self._store.written(None, "", None, _RELATIONSHIP_GROUPS)
        return document

    async def delete_relationship(self, relationship_id: uuid.UUID, if_version: int | None = None) -> None:
        """Delete a relationship. Raises NotFound, VersionMismatch."""
        await self._cards.delete_relationship(relationship_id, if_version)
        await self._store.written(None, "", None, _RELATIONSHIP_GROUPS)

    async def import_relationships(self, rows: list[RelationshipDraft]) -> int:
        """Create all the relationships or none."""
        count = await self._cards.import_relationships(rows)
        await self._store.written(None, "", None, _RELATIONSHIP_GROUPS)
        return count

    async def _read(self, key: Key, load: Callable[[], Awaitable[Document]]) -> Document:
        found = await self._store.read(key)
        if isinstance(found, Document):
            return found
        seen = found.lease if isinstance(found, Miss) else None
        away = found is None

        async def fly(flight: Flight) -> Document:
            if away:
                flight.loading = True
                return await load()
            return await self._load(key, flight, load)

        return await self._flights.run(key.slot, seen, fly)

    async def _load(self, key: Key, flight: Flight, load: Callable[[], Awaitable[Document]]) -> Document:
        """Load under a lease and fill; while another process holds the lease, wait for its value."""
        deadline = time.monotonic() + self._lease_s
        while True:
            lease = await self._store.lease(key)
            if lease is None or lease.state == "fenced":
                flight.loading = True
                return await load()
            if lease.value is not None:
                return lease.value
            if lease.state == "granted":
                flight.lease = lease.token
                flight.loading = True
                try:
                    document = await load()
                except BaseException:
                    await asyncio.shield(self._store.release(key, lease))
                    raise
                await self._store.fill(key, lease, document)
                return document
            if time.monotonic() >= deadline:
                flight.loading = True
                return await load()
            await asyncio.sleep(_POLL_S * (0.5 + random.random()))
