"""Claims that are no latency: each tried so many times on the running service, each trial right or wrong."""

from __future__ import annotations

import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import redis

from archzero_lab.postgres.migrations import connect
from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.entries import Hit, decode
from archzero_lab.systems.arczero.cache.keys import Keyspace, Kind
from archzero_lab.systems.arczero.checks.database import no_n_plus_one, pool_no_exhaustion
from archzero_lab.systems.arczero.services import start_service
from archzero_lab.systems.checks import Bench, Tried, call

SQL_PAYLOADS = (
    "' OR '1'='1", "'; DROP TABLE cards; --", '" OR ""="', "') OR TRUE --", "1; SELECT pg_sleep(5)", "%' AND 1=0 UNION",
    "$$; DELETE FROM cards; $$", "\\'; UPDATE cards SET name='x'; --", "{{7*7}}", "%s", "%(id)s", "?", ":1", "$1",
    "admin'/*", "*/ OR 1=1", "';COPY cards TO '/tmp/x';--", "\u02bc OR 1=1", "xp' || chr(39) || '", "0x27",
)  # fmt: skip
KEY_PAYLOADS = (
    "*", "card:*", "a:b:generation", "{tag}", "x\r\nFLUSHALL\r\n", "x\nDEL card", "..:..", "%00", "[a-z]", "\u0000x",
    "archzero", ":usage", "L0", "F0000000000", "V0", "'\"", "\\x00", "a b", "::", "generation",
)  # fmt: skip
_TRIES = 40


def ttl_policies(bench: Bench) -> Tried:
    """Every kind of entry that is stored now expires when its policy says, less a tenth at most.

    What is in the cache from before is emptied first: minutes old, it would rightly expire that much sooner.
    """
    tried = Tried()
    token = bench.stack.settings.admin_token
    status, _ = bench.call("POST", "/api/v1/cache/flush", Authorization=f"Bearer {token}")
    tried.trial(status == 200, f"the cache could not be emptied first: {status}")
    began = time.monotonic()
    for number, card_id in enumerate(bench.ids[:10]):
        bench.call("GET", f"/api/v1/cards/{card_id}")
        bench.call("GET", f"/api/v1/cards?page={number + 1}&pageSize=7")
        bench.call("GET", f"/api/v1/cards?q=service&page={number + 1}&pageSize=7")
        bench.call("GET", f"/api/v1/graph?center_card_id={card_id}&depth=1")
    policies = {Kind.LIST: 900, Kind.CARD: 3600, Kind.GRAPH: 1800, Kind.SEARCH: 600}
    client = redis.Redis.from_url(bench.stack.redis_url, socket_timeout=5)
    keys = Keyspace(bench.service.namespace)
    now_ms = int(client.time()[0]) * 1000
    for kind, policy_s in policies.items():
        generation: Any = client.get(keys.generations(kind)[0])
        names = [
            name for name in client.scan_iter(keys.prefix(kind) + "*", count=1000) if len(name.split(b":")[-1]) == 32
        ]
        values: Any = client.mget(names) if names else []
        found = [value for value in (decode(slot, generation) for slot in values) if isinstance(value, Hit)]
        tried.mechanism[kind.value] = len(found)
        for value in found:
            left_s = (value.soft_expiry_ms - now_ms) / 1000
            since_s = time.monotonic() - began + 1  # Redis' clock is read in whole seconds
            right = 0.9 * policy_s - since_s <= left_s <= policy_s + 1
            tried.trial(right, f"{kind.value} expires in {left_s:.0f} s")
    client.close()
    tried.mechanism["moved"] = all(tried.mechanism[kind.value] > 0 for kind in policies)
    return tried


def immediate_invalidation(bench: Bench) -> Tried:
    """A card that is cached shows a change to the very next reader."""
    tried, before = Tried(), bench.stats()
    for number, card_id in enumerate(bench.ids[:_TRIES]):
        bench.call("GET", f"/api/v1/cards/{card_id}")
        bench.call("GET", f"/api/v1/cards/{card_id}")
        status, written = bench.call("PUT", f"/api/v1/cards/{card_id}", {"qualityScore": number})
        _, read = bench.call("GET", f"/api/v1/cards/{card_id}")
        right = status == 200 and isinstance(read, dict) and read["version"] == written["version"]
        tried.trial(right, f"{card_id}: PUT {status}, then the older version")
    tried.mechanism = {"hits": bench.stats()["hits"] - before["hits"]}
    tried.mechanism["moved"] = tried.mechanism["hits"] >= _TRIES
    return tried


def pattern_invalidation(bench: Bench) -> Tried:
    """A change reaches every cached list and search that shows the card, whatever its filters and page size."""
    tried, before, seen = Tried(), bench.stats(), 0
    for number in range(_TRIES // 4):
        _, made = bench.call("GET", f"/api/v1/cards/{bench.ids[number]}")
        word = urllib.parse.quote(made["name"])
        questions = [f"/api/v1/cards?q={word}&status=any&pageSize={size}" for size in (5, 20, 100)]
        questions.append(f"/api/v1/cards?q={word}&status=any&type={made['type']}&pageSize=100")
        for question in questions:
            bench.call("GET", question)
        _, written = bench.call("PUT", f"/api/v1/cards/{made['id']}", {"qualityScore": 100 - number})
        for question in questions:
            _, page = bench.call("GET", question)
            shown = [card["version"] for card in page["data"] if card["id"] == made["id"]]
            seen += len(shown)
            tried.trial(shown in ([], [written["version"]]), f"{question} still shows version {shown}")
    sets = bench.stats()["by_kind"]["search"]["sets"] - before["by_kind"]["search"]["sets"]
    # a page that never showed the card could not have shown an old one
    tried.mechanism = {"searches_cached": sets, "pages_with_the_card": seen}
    tried.mechanism["moved"] = sets >= _TRIES // 4 and seen >= _TRIES // 2
    return tried


def works_without_redis(bench: Bench) -> Tried:
    """A service whose Redis is killed goes on reading and writing, and says that it is degraded."""
    tried = Tried()
    hurt = HurtRedis(bench.stack)
    try:
        own = Stack(bench.stack.settings, bench.stack.registry, bench.stack.postgres_url, bench.stack.postgres_pid,
                    hurt.server.url, hurt.server.record.pid)  # fmt: skip
        service = start_service(own, "without-redis", bench.database_url, cached=True)
        try:
            call(service.url, "GET", f"/api/v1/cards/{bench.ids[0]}")
            hurt.kill()
            for number, card_id in enumerate(bench.ids[:_TRIES]):
                path = f"/api/v1/cards/{card_id}" if number % 2 else f"/api/v1/cards?page={number + 1}"
                status, _ = call(service.url, "GET", path)
                tried.trial(status == 200, f"GET {path}: {status}")
                if number % 4 == 0:
                    status, _ = call(service.url, "PUT", f"/api/v1/cards/{card_id}", {"qualityScore": number})
                    tried.trial(status == 200, f"PUT {card_id}: {status}")
            _, health = call(service.url, "GET", "/api/v1/cache/health")
            # a read's error or a heartbeat's, whichever came first, opened the breaker: then Redis was really away
            tried.mechanism = {"health": health["status"], "breaker": health["breaker"]}
            tried.mechanism["moved"] = health["status"] == "degraded"
        finally:
            bench.stack.registry.stop(service.record)
    finally:
        hurt.close()
    return tried


def no_sql_injection(bench: Bench) -> Tried:
    """Texts made to end a statement are texts: no 500, no row more than asked for, nothing changed."""
    tried = Tried()
    with connect(bench.database_url, autocommit=True) as connection:
        counted = connection.execute("SELECT count(*), max(updated_at) FROM cards").fetchone()
        for text in SQL_PAYLOADS:
            quoted = urllib.parse.quote(text, safe="")
            for parameter in ("q", "type", "ownerId", "tags", "minQuality", "cursor"):
                status, page = bench.call("GET", f"/api/v1/cards?{parameter}={quoted}")
                # as a filter it may find nothing; everything found would mean that it was read as a condition
                right = status in (400, 422) or (status == 200 and page["total"] < 1_000)
                tried.trial(right, f"{parameter}={text!r}: {status}")
            status, _ = bench.call("GET", f"/api/v1/cards/{quoted}")
            tried.trial(status in (400, 404, 422), f"id {text!r}: {status}")
        after = connection.execute("SELECT count(*), max(updated_at) FROM cards").fetchone()
        tried.trial(counted == after, f"cards were {counted}, are {after}")
    tried.mechanism = {"payloads": len(SQL_PAYLOADS), "moved": True}
    return tried


def no_key_injection(bench: Bench) -> Tried:
    """No text of a request gets into the name of a key, and none reaches another's entry."""
    tried = Tried()
    target = bench.ids[0]
    _, document = bench.call("GET", f"/api/v1/cards/{target}")
    for text in KEY_PAYLOADS:
        quoted = urllib.parse.quote(text, safe="")
        for path in (f"/api/v1/cards?q={quoted}&pageSize=3", f"/api/v1/cards?tags={quoted}&pageSize=3"):
            status, _ = bench.call("GET", path)
            tried.trial(status in (200, 400, 422), f"{path}: {status}")
        tried.trial(
            bench.call("GET", f"/api/v1/cards/{target}") == (200, document), f"{text!r} changed another's entry"
        )
    client = redis.Redis.from_url(bench.stack.redis_url, socket_timeout=5)
    names = [name.decode("latin-1") for name in client.scan_iter(bench.service.namespace + ":*", count=1000)]
    client.close()
    kinds = {kind.value for kind in Kind}
    for name in names:
        parts = name.removeprefix(bench.service.namespace + ":").split(":")
        known = name.endswith((":usage", ":epoch")) or (
            parts[0] in kinds and (parts[1] == "generation" or (len(parts[1]) == 32 and parts[1].isalnum()))
        )
        tried.trial(known, f"a key of no known form: {name}")
    tried.mechanism = {"payloads": len(KEY_PAYLOADS), "keys_looked_at": len(names), "moved": len(names) > 10}
    return tried


CHECKS: dict[str, Callable[[Bench], Tried]] = {
    check.__name__: check
    for check in (
        ttl_policies,
        immediate_invalidation,
        pattern_invalidation,
        works_without_redis,
        no_sql_injection,
        no_key_injection,
        no_n_plus_one,
        pool_no_exhaustion,
    )
}
