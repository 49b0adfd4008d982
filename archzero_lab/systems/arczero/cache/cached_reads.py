"""The reading half of the cached service: cache_aside over any Cards, one load of many that ask at once."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec import structs

from archzero_lab.postgres.positions import SESSION, Session
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache import dependencies
from archzero_lab.systems.arczero.cache.batched_reads import Found, Reader
from archzero_lab.systems.arczero.cache.counters import count
from archzero_lab.systems.arczero.cache.entries import MOST_BYTES, NOT_FOUND, Hit
from archzero_lab.systems.arczero.cache.keys import Key, Kind
from archzero_lab.systems.arczero.cache.single_flight import Flight, SingleFlight
from archzero_lab.systems.arczero.cache.store import CacheStore, Lease
from archzero_lab.systems.arczero.cache.usage import Usage
from archzero_lab.systems.arczero.cards.model import (
    CardFilter,
    CardsError,
    Document,
    GraphQuery,
    NotFound,
    RelationshipFilter,
)
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.request_context import STRICT

Depends = Callable[[Document], Sequence[str]]
_POLL_S = 0.01
_COUNTED_PAGES = 3
"""Deeper pages, and those behind a cursor, belong to one reader: a warm need not load them."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a read asks for: where its answer is cached, how it is loaded, and what that depends on.

    `counted` is what the table of the most used calls it, None where it is not counted.
    """

    key: Key
    load: Callable[[], Awaitable[Document]]
    depends: Depends
    counted: uuid.UUID | CardFilter | None = None


class CachedReads:
    """Documents from Redis where it has them, else from `cards`, then stored; without Redis as `cards` gives them."""

    def __init__(self, cards: Cards, store: CacheStore, settings: CacheSettings, usage: Usage) -> None:
        self._cards = cards
        self._store = store
        self._keys = store.keys
        self._lease_s = settings.lease_s
        self._usage = usage
        self._flights = SingleFlight()
        self._tasks: set[asyncio.Task[object]] = set()

    async def card(self, card_id: uuid.UUID) -> Document:
        """One card. Raises NotFound."""
        return await self._answer(self.question(card_id))

    async def cards(self, question: CardFilter) -> Document:
        """A page of cards, newest first, with the total."""
        return await self._answer(self.question(question))

    async def relationships(self, question: RelationshipFilter) -> Document:
        """A page of relationships."""
        names = dependencies.of_relationships(question)
        key = self._keys.relationships(question)
        return await self._answer(Question(key, lambda: self._cards.relationships(question), lambda _: names))

    async def graph(self, query: GraphQuery) -> Document:
        """The neighbourhood of a card. Raises NotFound."""
        depends = partial(dependencies.of_graph, query)
        return await self._answer(Question(self._keys.graph(query), lambda: self._cards.graph(query), depends))

    async def graph_stats(self) -> Document:
        """Counts over the whole graph."""
        names = dependencies.of_graph_stats()
        return await self._answer(Question(self._keys.graph_stats(), self._cards.graph_stats, lambda _: names))

    async def relationship(self, relationship_id: uuid.UUID) -> Document:
        """One relationship, never cached: nobody reads them one by one. Raises NotFound."""
        return await self._loaded(lambda: self._cards.relationship(relationship_id), None)

    # -- the read path -------------------------------------------------------------------------------------

    def question(self, what: uuid.UUID | CardFilter) -> Question:
        """What reading a card or a page of cards takes; it can be kept and asked again."""
        if isinstance(what, uuid.UUID):
            return Question(self._keys.card(what), partial(self._cards.card, what), _nothing, what)
        counted = what if what.cursor is None and what.page <= _COUNTED_PAGES else None
        depends = partial(dependencies.of_cards, what)
        return Question(self._keys.cards(what), partial(self._cards.cards, what), depends, counted)

    def near(self, question: Question) -> Document | None:
        """The answer, where this process has it and may believe it."""
        near = self._store.near
        if near is None or not self._store.link.licensed:
            return None
        document = near.get(question.key)
        if document is not None:
            count(question.key.kind, "near_hit")
            self._count(question)
        return document

    def read_for(self, question: Question, reader: Reader) -> None:
        """Look in Redis. The reader is told what is there; that goes to hit() and, where it has none, to finish()."""
        self._store.read_for(question.key, reader)

    def hit(self, question: Question, entry: Found) -> Document | None:
        """What was found, where it may go out as it is; loaded anew in the background where it is time for that."""
        if not isinstance(entry, Hit) or entry.document is NOT_FOUND:
            return None
        if entry.wants_refresh():
            self._refresh(question.key, entry, question.load, question.depends)
        self._count(question)
        return entry.document

    async def finish(self, question: Question, entry: Found) -> Document:
        """The answer, loaded where it was not found. Raises NotFound."""
        document = self.hit(question, entry)
        if document is not None:
            return document
        document = await self._finish(question, entry)
        session = SESSION.get()
        if session is not None:
            session.saw(document.position)
        if document is NOT_FOUND:
            raise NotFound(f"no card with id {question.counted}")
        self._count(question)  # only what was found: a warm must not ask for what is not there
        return document

    async def _answer(self, question: Question) -> Document:
        session = SESSION.get()
        at_once = not STRICT.get() and (session is None or session.needed is None)
        document = self.near(question) if at_once else None
        if document is not None:
            return document
        return await self.finish(question, await self._store.read(question.key))

    async def _finish(self, question: Question, entry: Found) -> Document:
        key, load = question.key, question.load
        if entry is None:
            # Redis is away: nothing to share with anybody, and no time to lose
            return await self._loaded(load, None)
        if isinstance(entry, Hit):
            return entry.document
        was = entry.was
        session = SESSION.get()
        # who must have seen something takes no load of somebody who need not
        name = f"{key.slot} {session.needed}" if session is not None and session.needed is not None else key.slot
        return await self._flights.run(
            name, entry.lease, lambda flight: self._load(key, flight, load, question.depends, was)
        )

    def _count(self, question: Question) -> None:
        if question.counted is not None:
            self._usage.count(question.counted)

    async def _load(
        self, key: Key, flight: Flight, load: Callable[[], Awaitable[Document]], depends: Depends, was: str | None
    ) -> Document:
        """Load under a lease and fill; while another process holds the lease, wait for its value.

        Once the lease is a third one's, what was waited for has come and gone; under steady writes that may happen
        again and again. `was` is the ETag of a value that has become invalid: where the load brings the same, it need
        not have.
        """
        deadline = time.monotonic() + self._lease_s
        wait_s, awaited = _POLL_S, None
        while True:
            # how new an answer will be is settled where the lease is, before it is heard of
            lease = await self._store.lease(key, flight.begin)
            flight.loading = True
            if lease is None or lease.state == "fenced":
                return await self._loaded(load, lease)
            if lease.value is not None:
                return lease.value.document
            if lease.state == "granted":
                flight.right = lease.token + lease.generation + (lease.sequence if self._keys.depends(key) else "")
                began = time.perf_counter()
                try:
                    document = await self._loaded(load, lease)
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
                await self._store.fill(key, lease, document, load_s, _names(document, depends))
                return document
            awaited = awaited or lease.token
            if lease.token != awaited or time.monotonic() >= deadline:
                return await self._loaded(load, lease)
            flight.loading = False  # whoever comes before it is asked again may wait with it
            await asyncio.sleep(wait_s * (0.5 + random.random()))
            wait_s = min(wait_s * 1.5, 0.1)

    async def _loaded(self, load: Callable[[], Awaitable[Document]], lease: Lease | None) -> Document:
        """What the database has; with replicas one of them, where it has replayed what was told before the lease.

        Without a lease, and beside a write, the primary: nothing is known of what must have been replayed, or what is
        read there before it was told would be missing on the next read.
        """
        position = self._store.told
        if position is None:
            return await load()
        client = SESSION.get()
        session = position.session_for(lease.position if lease is not None else "", client)
        session.primary = session.primary or lease is None or lease.state == "fenced"
        before = SESSION.set(session)
        try:
            document = await load()
        finally:
            SESSION.reset(before)
            if client is not None:
                client.saw(session.seen)
        return structs.replace(document, position=session.seen)

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
        SESSION.set(Session(primary=True))  # and whoever asked has his answer
        began = time.perf_counter()
        try:
            document = await load()
        except CardsError:
            return  # the value in the cache expires by itself; the next miss tells the reader
        load_s = time.perf_counter() - began
        await self._store.refill(key, seen, document, load_s, sequence, _names(document, depends))


def _names(document: Document, depends: Depends) -> Sequence[str]:
    """What a document depends on; what is too large to be kept is not looked through for it."""
    return depends(document) if len(document.body) <= MOST_BYTES else ()


def _nothing(_: Document) -> Sequence[str]:
    """Of a card: every write of it goes through its slot."""
    return ()
