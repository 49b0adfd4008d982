"""Checks of what the cache promises about time: how long entries live, and that a change is seen at once.

A trial counts only where its premise held (the entry was really cached, the write was really answered): on a machine
that is too slow there are fewer trials, never wrong ones.
"""

from __future__ import annotations

import time
import urllib.parse
import uuid
from typing import Any

import redis

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.entries import Hit, decode
from archzero_lab.systems.arczero.cache.keys import Key, Keyspace, Kind
from archzero_lab.systems.arczero.cards.model import CardFilter, CardStatus, GraphQuery
from archzero_lab.systems.arczero.checks.bench import Bench
from archzero_lab.systems.checks import Tried

_TRIES = 40
_CARDS = 10
_FLUSHES = 50


def ttl_policies(bench: Bench) -> Tried:
    """Every kind of entry that is stored now expires when phase 5's policy says, less a tenth at most.

    Only entries that the check itself has filled count: their writing lies between its question and its answer.
    """
    tried = Tried()
    if not _flushed(bench):
        tried.mechanism = {"moved": False, "because": "Redis was too slow to be emptied"}
        return tried
    settings = CacheSettings()  # its defaults are phase 5's policies
    keys = Keyspace(bench.service.namespace)
    written: list[tuple[Key, float, float]] = []
    for number, card_id in enumerate(bench.ids[:_CARDS], 1):
        card = uuid.UUID(card_id)
        for path, key in (
            (f"/api/v1/cards/{card_id}", keys.card(card)),
            (f"/api/v1/cards?page={number}&pageSize=7", keys.cards(_page(None, number))),
            (f"/api/v1/cards?q=service&page={number}&pageSize=7", keys.cards(_page("service", number))),
            (f"/api/v1/graph?center_card_id={card_id}&depth=1", keys.graph(GraphQuery(card, 1))),
        ):
            before = time.time()
            bench.call("GET", path)
            written.append((key, before, time.time()))
    with redis.Redis.from_url(bench.stack.redis_url, socket_timeout=5) as client:
        values: Any = client.mget([name for key, _, _ in written for name in (key.slot, key.generation)])
    counts = dict.fromkeys((Kind.LIST, Kind.CARD, Kind.GRAPH, Kind.SEARCH), 0)
    for (key, before, after), slot, generation in zip(written, values[::2], values[1::2], strict=True):
        entry = decode(slot, generation)
        if isinstance(entry, Hit):
            counts[key.kind] += 1
            policy_s: float = getattr(settings, f"ttl_{key.kind.value}_s")
            least, most = entry.soft_expiry_ms / 1000 - after, entry.soft_expiry_ms / 1000 - before
            right = most >= (1 - settings.ttl_jitter) * policy_s and least <= policy_s
            tried.trial(right, f"{key.kind.value} expires after {least:.0f} to {most:.0f} s, not {policy_s:.0f}")
    tried.mechanism = {kind.value: number for kind, number in counts.items()}
    tried.mechanism["moved"] = all(counts.values())
    return tried


def immediate_invalidation(bench: Bench) -> Tried:
    """A card that is cached shows a change to the very next reader."""
    tried = Tried()
    for number, card_id in enumerate(bench.ids[:_TRIES]):
        path = f"/api/v1/cards/{card_id}"
        if not bench.is_cached(path):
            continue
        status, written = bench.call("PUT", path, {"qualityScore": number})
        answered, read = bench.call("GET", path)
        if (status, answered) == (200, 200):
            tried.trial(read["version"] == written["version"], f"{card_id}: version {read['version']} after "
                        f"{written['version']} was acknowledged")  # fmt: skip
    tried.mechanism = {"hits": tried.trials, "moved": tried.trials > 0}
    return tried


def pattern_invalidation(bench: Bench) -> Tried:
    """A change reaches every cached list and search that shows the card, whatever its filters and page size."""
    tried = Tried()
    for number, card_id in enumerate(bench.ids[: _TRIES // 4]):
        status, made = bench.call("GET", f"/api/v1/cards/{card_id}")
        if status != 200:
            continue
        word = urllib.parse.quote(made["name"])
        questions = [f"/api/v1/cards?q={word}&status=any&pageSize={size}" for size in (5, 20, 100)]
        questions.append(f"/api/v1/cards?q={word}&status=any&type={made['type']}&pageSize=100")
        # a page that never showed the card, or was not cached, could not have shown an old one
        cached = [path for path in questions if bench.is_cached(path) and _versions(bench, path, card_id)]
        status, written = bench.call("PUT", f"/api/v1/cards/{card_id}", {"qualityScore": 100 - number})
        for question in cached if status == 200 else ():
            shown = _versions(bench, question, card_id)
            if shown:
                tried.trial(shown == [written["version"]], f"{question} still shows version {shown}")
    tried.mechanism = {"searches_cached": tried.trials, "moved": tried.trials > 0}
    return tried


def _page(q: str | None, page: int) -> CardFilter:
    return CardFilter(q=q, status=CardStatus("active"), page=page, page_size=7)


def _versions(bench: Bench, path: str, card_id: str) -> list[int]:
    status, page = bench.call("GET", path)
    return [card["version"] for card in page["data"] if card["id"] == card_id] if status == 200 else []


def _flushed(bench: Bench) -> bool:
    """Whether the cache could be emptied: an answer of 200 may also say that it is owed."""
    token = bench.stack.settings.admin_token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for _ in range(_FLUSHES):
        status, answer = bench.call("POST", "/api/v1/cache/flush", **headers)
        if status == 200 and answer.get("status") == "flushed":
            return True
    return False
