"""CachedCardService: cache_aside over any Cards, with every write going through the cache protocol."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.counters import count
from archzero_lab.systems.arczero.cache.entries import NOT_FOUND, Hit
from archzero_lab.systems.arczero.cache.keys import Key, Kind
from archzero_lab.systems.arczero.cache.single_flight import Flight, SingleFlight
from archzero_lab.systems.arczero.cache.store import CacheStore
from archzero_lab.systems.arczero.cache.usage import Usage
from archzero_lab.systems.arczero.cards.model import (
    CardDraft,
    CardFilter,
    CardPatch,
    CardRow,
    CardsError,
    Document,
    GraphQuery,
    IfMatch,
    NotFound,
    RelationshipDraft,
    RelationshipFilter,
    RelationshipPatch,
    Unavailable,
)
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.request_context import ORIGIN, STRICT

T = TypeVar("T")

# what a write of a card can be seen in: lists and searches by its fields, graphs by its name and type
_CARD_GROUPS = (Kind.LIST, Kind.SEARCH, Kind.GRAPH)
_RELATIONSHIP_GROUPS = (Kind.RELATIONSHIPS, Kind.GRAPH)
_POLL_S = 0.01
_MOST_NAMED_IDS = 1_000


class TellsOutbox(Protocol):
    """What a writer tells the outbox."""

    def done(self, origin: str) -> None:
        """Redis knows; the row may go."""

    async def settle(self, origin: str, tell: Callable[[], Awaitable[bool]]) -> bool:
        """Redis could not be told: wait until it is safe to acknowledge; False where it is not."""


class CachedCardService:
    """Implements cards.protocol.Cards: documents from Redis where it has them, else from `cards`, then stored.

    Without Redis it answers as `cards` does; nothing fails and nothing waits for it.
    """

    def __init__(
        self, cards: Cards, store: CacheStore, settings: CacheSettings, usage: Usage, outbox: TellsOutbox
    ) -> None:
        self._cards = cards
        self._store = store
        self._keys = store.keys
        self._lease_s = settings.lease_s
        self._usage = usage
        self._outbox = outbox
        self._flights = SingleFlight()
        self._tasks: set[asyncio.Task[object]] = set()

    # -- reads ---------------------------------------------------------------------------------------------

    async def card(self, card_id: uuid.UUID) -> Document:
        """One card. Raises NotFound."""
        key = self._keys.card(card_id)
        document = await self._read(key, lambda: self._cards.card(card_id))
        if document.etag == NOT_FOUND.etag:
            raise NotFound(f"no card with id {card_id}")
        self._usage.card(card_id)  # only what was found: a warm must not ask for what is not there
        return document

    async def cards(self, question: CardFilter) -> Document:
        """A page of cards, newest first, with the total."""
        document = await self._read(self._keys.cards(question), lambda: self._cards.cards(question))
        self._usage.cards(question)
        return document

    async def relationships(self, question: RelationshipFilter) -> Document:
        """A page of relationships."""
        key = self._keys.relationships(question)
        return await self._read(key, lambda: self._cards.relationships(question))

    async def graph(self, query: GraphQuery) -> Document:
        """The neighbourhood of a card. Raises NotFound."""
        return await self._read(self._keys.graph(query), lambda: self._cards.graph(query))

    async def graph_stats(self) -> Document:
        """Counts over the whole graph."""
        return await self._read(self._keys.graph_stats(), self._cards.graph_stats)

    async def relationship(self, relationship_id: uuid.UUID) -> Document:
        """One relationship, never cached: nobody reads them one by one. Raises NotFound."""
        return await self._cards.relationship(relationship_id)

    # -- writes --------------------------------------------------------------------------------------------

    async def create_card(self, draft: CardDraft) -> tuple[uuid.UUID, Document]:
        """Create a card. Raises Conflict."""
        return await self._write(
            None, _CARD_GROUPS, lambda: self._cards.create_card(draft), also=lambda made: [self._keys.card(made[0])]
        )

    async def update_card(self, card_id: uuid.UUID, patch: CardPatch, if_match: IfMatch = None) -> Document:
        """Change a card. Raises NotFound, Conflict, VersionMismatch."""
        return await self._write(
            self._keys.card(card_id), _CARD_GROUPS, lambda: self._cards.update_card(card_id, patch, if_match)
        )

    async def delete_card(self, card_id: uuid.UUID, if_match: IfMatch = None) -> None:
        """Delete a card and its relationships. Raises NotFound, VersionMismatch."""
        await self._write(
            self._keys.card(card_id),
            (*_CARD_GROUPS, Kind.RELATIONSHIPS),
            lambda: self._cards.delete_card(card_id, if_match),
        )

    async def import_cards(self, rows: list[CardRow]) -> int:
        """Create all the cards or none."""
        ids = [row.id for row in rows if row.id is not None]
        named = [self._keys.card(card_id) for card_id in ids] if len(ids) <= _MOST_NAMED_IDS else []
        kinds = _CARD_GROUPS if len(ids) <= _MOST_NAMED_IDS else (*_CARD_GROUPS, Kind.CARD)
        return await self._write(None, kinds, lambda: self._cards.import_cards(rows), also=lambda _: named)

    async def create_relationship(self, draft: RelationshipDraft) -> tuple[uuid.UUID, Document]:
        """Create a relationship. Raises InvalidReference."""
        return await self._write(None, _RELATIONSHIP_GROUPS, lambda: self._cards.create_relationship(draft))

    async def update_relationship(
        self, relationship_id: uuid.UUID, patch: RelationshipPatch, if_match: IfMatch = None
    ) -> Document:
        """Change a relationship. Raises NotFound, VersionMismatch."""
        return await self._write(
            None,
            _RELATIONSHIP_GROUPS,
            lambda: self._cards.update_relationship(relationship_id, patch, if_match),
        )

    async def delete_relationship(self, relationship_id: uuid.UUID, if_match: IfMatch = None) -> None:
        """Delete a relationship. Raises NotFound, VersionMismatch."""
        await self._write(
            None, _RELATIONSHIP_GROUPS, lambda: self._cards.delete_relationship(relationship_id, if_match)
        )

    async def import_relationships(self, rows: list[RelationshipDraft]) -> int:
        """Create all the relationships or none."""
        return await self._write(None, _RELATIONSHIP_GROUPS, lambda: self._cards.import_relationships(rows))

    async def _write(
        self,
        key: Key | None,
        kinds: Sequence[Kind],
        write: Callable[[], Awaitable[T]],
        also: Callable[[T], Sequence[Key]] = lambda made: (),
    ) -> T:
        """Fence, write, tell Redis, acknowledge. As a task of its own: a caller that goes away stops none of it."""
        task = asyncio.ensure_future(self._write_whole(key, kinds, write, also))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _write_whole(
        self,
        key: Key | None,
        kinds: Sequence[Kind],
        write: Callable[[], Awaitable[T]],
        also: Callable[[T], Sequence[Key]],
    ) -> T:
        token = secrets.token_hex(8)
        await self._store.fence(key, kinds, token)
        ORIGIN.set(token)
        try:
            result = await write()
        except CardsError as error:
            if isinstance(error, Unavailable):
                # it may have been committed before the connection was lost
                await self._store.written(key, token, None, kinds)
            else:
                await self._store.unfence(key, kinds, token)
            raise
        except BaseException:
            await self._store.written(key, token, None, kinds)
            raise
        document = result if isinstance(result, Document) and key is not None else None
        if await self._store.written(key, token, document, kinds, also(result)):
            self._outbox.done(token)
            return result

        # what it holds is not told a second time, only that it is void: another write may have come meanwhile
        def tell() -> Awaitable[bool]:
            return self._store.written(key, token, None, kinds, also(result))

        if not await self._outbox.settle(token, tell):
            raise Unavailable("it was written, but who reads from the cache may not see it yet; ask again in a moment")
        return result

    # -- the read path -------------------------------------------------------------------------------------

    async def _read(self, key: Key, load: Callable[[], Awaitable[Document]]) -> Document:
        near = self._store.near
        if near is not None and not STRICT.get() and self._store.link.licensed:
            document = near.get(key)
            if document is not None:
                count(key.kind, "near_hit")
                return document
        found = await self._store.read(key) if self._store.link.licensed else None
        if found is None:
            return await load()  # Redis is away: nothing to share with anybody, and no time to lose
        if isinstance(found, Hit):
            if found.document.etag != NOT_FOUND.etag and found.wants_refresh():
                self._refresh(key, found, load)
            return found.document
        return await self._flights.run(key.slot, found.lease, lambda flight: self._load(key, flight, load))

    async def _load(self, key: Key, flight: Flight, load: Callable[[], Awaitable[Document]]) -> Document:
        """Load under a lease and fill; while another process holds the lease, wait for its value."""
        deadline = time.monotonic() + self._lease_s
        wait_s = _POLL_S
        while True:
            lease = await self._store.lease(key)
            if lease is None or lease.state == "fenced":
                flight.loading = True
                return await load()
            if lease.value is not None:
                return lease.value.document
            if lease.state == "granted":
                flight.right = lease.token + lease.generation
                flight.loading = True
                began = time.perf_counter()
                try:
                    document = await load()
                except NotFound:
                    if key.kind is Kind.CARD:
                        await self._store.fill(key, lease, NOT_FOUND, 0.0)
                    else:
                        await self._store.release(key, lease)
                    raise
                except BaseException:
                    await asyncio.shield(self._store.release(key, lease))
                    raise
                await self._store.fill(key, lease, document, time.perf_counter() - began)
                return document
            if time.monotonic() >= deadline:
                flight.loading = True
                return await load()
            await asyncio.sleep(wait_s * (0.5 + random.random()))
            wait_s = min(wait_s * 1.5, 0.1)

    def _refresh(self, key: Key, seen: Hit, load: Callable[[], Awaitable[Document]]) -> None:
        """Load a value anew in the background, once over all processes, while it is still served."""
        task = asyncio.ensure_future(self._refresh_once(key, seen, load))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refresh_once(self, key: Key, seen: Hit, load: Callable[[], Awaitable[Document]]) -> None:
        if not await self._store.claim_refresh(key):
            return
        began = time.perf_counter()
        try:
            document = await load()
        except CardsError:
            return  # the value in the cache expires by itself; the next miss tells the reader
        await self._store.refill(key, seen, document, time.perf_counter() - began)
