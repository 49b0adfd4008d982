"""The cache with guards of its protocol taken out, for the check that shows that each is needed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.announcements import Change
from archzero_lab.systems.arczero.cache.entries import NO_SEQUENCE, Hit, Miss
from archzero_lab.systems.arczero.cache.invalidation import Outbox
from archzero_lab.systems.arczero.cache.keys import Key, Keyspace
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cache.store import CacheStore, Lease
from archzero_lab.systems.arczero.cards.model import Document
from archzero_lab.systems.arczero.opened_cache import CacheParts

# PUT without asking what stands there
_OVERWRITE = """
local generation = redis.call('GET', KEYS[2])
if not generation then return 0 end
redis.call('SET', KEYS[1], 'V' .. generation .. ARGV[3], 'PX', ARGV[4])
return 1
"""


class UnguardedParts(CacheParts):
    """Parts of a cache without the guards named."""

    def __init__(self, without: frozenset[str]) -> None:
        self._without = without
        self.drains = "outbox" not in without

    def store(self, link: Link, keys: Keyspace, settings: CacheSettings, near: NearCache | None) -> CacheStore:
        """As CacheParts."""
        return UnguardedStore(link, keys, settings, near, self._without)

    async def beat(self, store: CacheStore, probe: Any) -> str:
        """A licence by PING, which a Redis answers that takes no writes."""
        if "obeyed" not in self._without:
            return await super().beat(store, probe)
        await probe.ping()
        return ""

    async def validate(self, store: CacheStore, outbox: Outbox, probe: Any) -> str | None:
        """A licence without what was missed."""
        if "breaker-drain" in self._without:
            return await self.beat(store, probe)
        known = await (super().validate(store, outbox, probe) if self.drains else store.check_epoch(probe))
        return "" if known is not None and "obeyed" in self._without else known  # as its heartbeat tells


class UnguardedStore(CacheStore):
    """A store without the guards named.

    lease: whoever loads may store. fence: a write is not announced. dependencies: a value is believed whatever it
    depends on has become, generation: whatever its kind has. sequence: a load counts from its end, not from its
    beginning. obeyed: a Redis that refused is believed. moved: what once held holds, whatever has moved since.
    """

    def __init__(
        self, link: Link, keys: Keyspace, settings: CacheSettings, near: NearCache | None, without: frozenset[str]
    ) -> None:
        super().__init__(link, keys, settings, near)
        self._without = without
        if "fence" in without:
            self._scripts.put = link.client.register_script(_OVERWRITE)
        if "obeyed" in without:
            link.tell = link.write  # type: ignore[method-assign]  # a refusal revokes nothing
            link.obeys = _no  # type: ignore[method-assign]  # and who was refused takes licences for run out

    def _decode(self, slot: bytes | None, generation: bytes | None) -> Hit | Miss:
        if "generation" in self._without and slot is not None and slot[:1] == b"V":
            generation = slot[1:17]
        return super()._decode(slot, generation)

    def _judge(self, value: Hit, dependencies: Sequence[bytes | None]) -> Hit | Miss:
        return value if "dependencies" in self._without else super()._judge(value, dependencies)

    def _stands(self, dependencies: Any) -> bool:
        return ("moved" in self._without and dependencies.moved is not None) or super()._stands(dependencies)

    async def lease(self, key: Key, sent: Callable[[], None] = lambda: None) -> Lease | None:
        """As CacheStore, or the right to fill for everybody."""
        if "lease" not in self._without:
            return await super().lease(key, sent)
        held = await self.link.read(key.kind, lambda: self._client.mget(key.generation, key.sequence))
        if held is None or held[0] is None:
            return None
        sequence = NO_SEQUENCE if held[1] is None else held[1].decode()
        return Lease("granted", held[0].decode(), secrets.token_hex(8), sequence=sequence)

    async def _store_filled(self, key: Key, lease: Lease, value: bytes, ttl_ms: int, names: Sequence[str]) -> Any:
        if "lease" in self._without:
            return await self._client.set(key.slot, value, px=ttl_ms)
        return await super()._store_filled(key, lease, value, ttl_ms, names)

    async def fill(self, key: Key, lease: Lease, document: Document, load_s: float, names: Sequence[str] = ()) -> bool:
        """As CacheStore, or with the sequence number of now."""
        if "sequence" in self._without:
            sequence = await self.link.read(key.kind, lambda: self._client.get(key.sequence))
            lease = replace(lease, sequence=sequence.decode() if sequence else lease.sequence)
        return await super().fill(key, lease, document, load_s, names)

    async def fence(self, key: Key | None, change: Change, token: str) -> bool:
        """As CacheStore, or nothing."""
        return True if "fence" in self._without else await super().fence(key, change, token)

    async def written(
        self, key: Key | None, token: str, document: Document | None, change: Change, also: Iterable[Key] = (),
        position: str = "",
    ) -> bool:  # fmt: skip
        """As CacheStore, or without new generations."""
        if "generation" in self._without:
            change = replace(change, kinds=[])
        return await super().written(key, token, document, change, also, position)


async def _no() -> bool:
    return False
