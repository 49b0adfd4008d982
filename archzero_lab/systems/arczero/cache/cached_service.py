"""CachedCardService: cache_aside over any Cards, with every write going through the cache protocol."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from archzero_lab.postgres.positions import SESSION, Session
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.cached_reads import CachedReads
from archzero_lab.systems.arczero.cache.keys import Key, Kind
from archzero_lab.systems.arczero.cache.settling import Known, is_nobodys, tell_or_see_away
from archzero_lab.systems.arczero.cache.store import CacheStore
from archzero_lab.systems.arczero.cache.told_position import UNKNOWN
from archzero_lab.systems.arczero.cache.usage import Usage
from archzero_lab.systems.arczero.cards.changes import ANNOUNCE, Changed
from archzero_lab.systems.arczero.cards.model import (
    CardDraft,
    CardPatch,
    CardRow,
    CardsError,
    Document,
    IfMatch,
    RelationshipDraft,
    RelationshipPatch,
    Unavailable,
)
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.request_context import ORIGIN

T = TypeVar("T")

_MOST_NAMED_IDS = 1_000
"""Of an import that brings its ids: whose cards were asked for in vain are forgotten one by one, or all cards are."""


class TellsOutbox(Protocol):
    """What a writer tells the outbox."""

    def done(self, origin: str) -> None:
        """Redis knows; the row may go."""

    async def settle(self, origin: str, tell: Callable[[], Awaitable[bool]]) -> bool:
        """Redis could not be told: wait until it is safe to acknowledge; False where it is not."""


class CachedCardService(CachedReads):
    """Implements cards.protocol.Cards: documents from Redis where it has them, else from `cards`, then stored.

    Without Redis it answers as `cards` does; nothing fails and nothing waits for it.
    """

    def __init__(
        self, cards: Cards, store: CacheStore, settings: CacheSettings, usage: Usage, outbox: TellsOutbox
    ) -> None:
        super().__init__(cards, store, settings, usage)
        self._outbox = outbox
        self._settings = settings

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
            await self._announce(lambda: self._store.fence(key, self._store.change_of(announced, whole), token))

        ORIGIN.set(token)
        ANNOUNCE.set(announce)
        client, session = SESSION.get(), Session(primary=True)
        SESSION.set(session)
        try:
            result = await write()
        except BaseException as error:
            if client is not None:
                client.saw(session.seen)
            if announced:
                change = self._store.change_of(announced, whole)
                if isinstance(error, CardsError) and not isinstance(error, Unavailable):
                    await self._store.unfence(key, change, token)
                else:  # it may have been committed before the connection was lost
                    await self._store.written(key, token, None, change, position=UNKNOWN)
            raise
        if client is not None:
            client.saw(session.seen)
        position = str(session.seen or UNKNOWN) if announced or also(result) else ""
        change = self._store.change_of(announced, whole)
        document = result if isinstance(result, Document) and key is not None else None
        if await self._store.written(key, token, document, change, also(result), position):
            self._outbox.done(token)
            return result

        # what it holds is not told a second time, only that it is void: another write may have come meanwhile
        def tell() -> Awaitable[bool]:
            return self._store.written(key, token, None, change, also(result), position)

        if not await self._outbox.settle(token, tell):
            raise Unavailable("it was written, but who reads from the cache may not see it yet; ask again in a moment")
        return result

    async def _announce(self, fence: Callable[[], Awaitable[bool]]) -> None:
        """Announce a write before its commit. Raises Unavailable where Redis is believed and yet could not be told.

        A commit that was not announced, and whose writer then waits for PostgreSQL, would be read from the database by
        one reader and its older value from Redis by the next.
        """
        link = self._store.link
        if await fence() or await is_nobodys(link, self._settings):
            return
        if await tell_or_see_away(link, self._settings, fence) is Known.NEITHER:
            raise Unavailable("the cache could not be told of this write; nothing was written; ask again in a moment")
