"""CachedCardService: cache_aside over any Cards, with every write going through the cache protocol."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache import dependencies
from archzero_lab.systems.arczero.cache.counters import count
from archzero_lab.systems.arczero.cache.entries import NOT_FOUND, Hit
from archzero_lab.systems.arczero.cache.keys import Key, Kind
from archzero_lab.systems.arczero.cache.single_flight import Flight, SingleFlight
from archzero_lab.systems.arczero.cache.store import CacheStore
from archzero_lab.systems.arczero.cache.usage import Usage
from archzero_lab.systems.arczero.cards.changes import ANNOUNCE, Changed
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

Depends = Callable[[Document], Sequence[str]]
_POLL_S = 0.01
_MOST_NAMED_IDS = 1_000
"""Of an import that brings its ids: whose cards were asked for in vain are forgotten one by one, or all cards are."""


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
        key = self._keys.cards(question)
        found = await self._read(key, lambda: self._cards.cards(question), partial(dependencies.of_cards, question))
        self._usage.cards(question)
        return found

    async def relationships(self, question: RelationshipFilter) -> Document:
        """A page of relationships."""
        key = self._keys.relationships(question)
        names = dependencies.of_relationships(question)
        return await self._read(key, lambda: self._cards.relationships(question), lambda _: names)

    async def graph(self, query: GraphQuery) -> Document:
        """The neighbourhood of a card. Raises NotFound."""
        key = self._keys.graph(query)
        return await self._read(key, lambda: self._cards.graph(query), partial(dependencies.of_graph, query))

    async def graph_stats(self) -> Document:
        """Counts over the whole graph."""
        key = self._keys.graph_stats()
        return await self._read(key, self._cards.graph_stats, lambda _: dependencies.of_graph_stats())

    async def relationship(self, relationship_id: uuid.UUID) -> Document:
        """One relationship, never cached: nobody reads them one by one. Raises NotFound."""
        return await self._cards.relationship(relationship_id)

    # -- writes --------------------------------------------------------------------------------------------

    async def create_card(self, draft: CardDraft) -> tuple[uuid.UUID, Document]:
        """Create a card. Raises Conflict."""
        return await self._write(
            None, lambda: self._cards.create_card(draft), also=lambda made: [self._keys.card(made[0])]
        )

    async def update_card(self, card_id: uuid.UUID, patch: CardPatch, if_match: IfMatch = None) -> Document:
        """Change a card. Raises NotFound, Conflict, VersionMismatch."""
        return await self._write(self._keys.card(card_id), lambda: self._cards.update_card(card_id, patch, if_match))

    async def delete_card(self, card_id: uuid.UUID, if_match: IfMatch = None) -> None:
        """Delete a card and its relationships. Raises NotFound, VersionMismatch."""
        await self._write(self._keys.card(card_id), lambda: self._cards.delete_card(card_id, if_match))

    async def import_cards(self, rows: list[CardRow]) -> int:
        """Create all the cards or none."""
        ids = [row.id for row in rows if row.id is not None]
        named = [self._keys.card(card_id) for card_id in ids] if len(ids) <= _MOST_NAMED_IDS else []
        whole = () if len(ids) <= _MOST_NAMED_IDS else (Kind.CARD,)
        return await self._write(None, lambda: self._cards.import_cards(rows), also=lambda _: named, whole=whole)

    async def create_relationship(self, draft: RelationshipDraft) -> tuple[uuid.UUID, Document]:
        """Create a relationship. Raises InvalidReference."""
        return await self._write(None, lambda: self._cards.create_relationship(draft))

    async def update_relationship(
        self, relationship_id: uuid.UUID, patch: RelationshipPatch, if_match: IfMatch = None
    ) -> Document:
        """Change a relationship. Raises NotFound, VersionMismatch."""
        return await self._write(None, lambda: self._cards.update_relationship(relationship_id, patch, if_match))

    async def delete_relationship(self, relationship_id: uuid.UUID, if_match: IfMatch = None) -> None:
        """Delete a relationship. Raises NotFound, VersionMismatch."""
        await self._write(None, lambda: self._cards.delete_relationship(relationship_id, if_match))

    async def import_relationships(self, rows: list[RelationshipDraft]) -> int:
        """Create all the relationships or none."""
        return await self._write(None, lambda: self._cards.import_relationships(rows))

    async def _write(
        self,
        key: Key | None,
        write: Callable[[], Awaitable[T]],
        also: Callable[[T], Sequence[Key]] = lambda made: (),
        whole: Sequence[Kind] = (),
    ) -> T:
        """Write, announce before the commit, tell Redis, acknowledge. As a task of its own: a caller that goes away
        stops none of it. `whole` are kinds that go besides what the write says of itself."""
        task = asyncio.ensure_future(self._write_whole(key, write, also, whole))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _write_whole(
        self,
        key: Key | None,
        write: Callable[[], Awaitable[T]],
        also: Callable[[T], Sequence[Key]],
        whole: Sequence[Kind],
    ) -> T:
        token = secrets.token_hex(8)
        announced: list[Changed] = []

        async def announce(changes: Sequence[Changed]) -> None:
            announced.extend(changes)
            await self._store.fence(key, self._store.change_of(announced, whole), token)

        ORIGIN.set(token)
        ANNOUNCE.set(announce)
        try:
            result = await write()
        except BaseException as error:
            if announced:
                change = self._store.change_of(announced, whole)
                if isinstance(error, CardsError) and not isinstance(error, Unavailable):
                    await self._store.unfence(key, change, token)
                else:  # it may have been committed before the connection was lost
                    await self._store.written(key, token, None, change)
            raise
        change = self._store.change_of(announced, whole)
        document = result if isinstance(result, Document) and key is not None else None
        if await self._store.written(key, token, document, change, also(result)):
            self._outbox.done(token)
            return result

        # what it holds is not told a second time, only that it is void: another write may have come meanwhile
        def tell() -> Awaitable[bool]:
            return self._store.written(key, token, None, change, also(result))

        if not await self._outbox.settle(token, tell):
            raise Unavailable("it was written, but who reads from the cache may not see it yet; ask again in a moment")
        return result

    # -- the read path -------------------------------------------------------------------------------------

    async def _read(
        self, key: Key, load: Callable[[], Awaitable[Document]], depends: Depends = lambda _: ()
    ) -> Document:
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
                self._refresh(key, found, load, depends)
            return found.document
        was = found.was
        return await self._flights.run(
            key.slot, found.lease, lambda flight: self._load(key, flight, load, depends, was)
        )

    async def _load(
        self, key: Key, flight: Flight, load: Callable[[], Awaitable[Document]], depends: Depends, was: str | None
    ) -> Document:
        """Load under a lease and fill; while another process holds the lease, wait for its value.

        `was` is the ETag of a value that has become invalid: where the load brings the same, it need not have.
        """
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
                flight.right = lease.token + lease.generation + (lease.sequence if self._keys.depends(key) else "")
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
                load_s = time.perf_counter() - began
                if was is not None:
                    count(key.kind, "reload")
                    if document.etag == was:
                        count(key.kind, "needless")
                await self._store.fill(key, lease, document, load_s, depends(document))
                return document
            if time.monotonic() >= deadline:
                flight.loading = True
                return await load()
            await asyncio.sleep(wait_s * (0.5 + random.random()))
            wait_s = min(wait_s * 1.5, 0.1)

    def _refresh(self, key: Key, seen: Hit, load: Callable[[], Awaitable[Document]], depends: Depends) -> None:
        """Load a value anew in the background, once over all processes, while it is still served."""
        task = asyncio.ensure_future(self._refresh_once(key, seen, load, depends))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refresh_once(
        self, key: Key, seen: Hit, load: Callable[[], Awaitable[Document]], depends: Depends
    ) -> None:
        sequence = await self._store.claim_refresh(key)
        if sequence is None:
            return
        began = time.perf_counter()
        try:
            document = await load()
        except CardsError:
            return  # the value in the cache expires by itself; the next miss tells the reader
        load_s = time.perf_counter() - began
        await self._store.refill(key, seen, document, load_s, sequence, depends(document))
