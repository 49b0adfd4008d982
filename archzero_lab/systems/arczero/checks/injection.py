"""Checks that no text of a request becomes SQL or the name of a key; counted is what reached database or store."""

from __future__ import annotations

import json
import urllib.parse
from collections import Counter
from collections.abc import Callable

import redis

from archzero_lab.postgres.connection import connect
from archzero_lab.systems.arczero.cache.dependencies import NAME_BYTES
from archzero_lab.systems.arczero.cache.keys import Kind
from archzero_lab.systems.arczero.checks.bench import Bench
from archzero_lab.systems.checks import Tried
from archzero_lab.systems.http import metric

SQL_PAYLOADS = (
    "' OR '1'='1", "'; DROP TABLE cards; --", '" OR ""="', "') OR TRUE --", "1; SELECT pg_sleep(5)", "%' AND 1=0 UNION",
    "$$; DELETE FROM cards; $$", "\\'; UPDATE cards SET name='x'; --", "{{7*7}}", "%s", "%(id)s", "?", ":1", "$1",
    "admin'/*", "*/ OR 1=1", "';COPY cards TO '/tmp/x';--", "\u02bc OR 1=1", "xp' || chr(39) || '", "0x27",
)  # fmt: skip
KEY_PAYLOADS = (
    "*", "card:*", "a:b:generation", "{tag}", "x\r\nFLUSHALL\r\n", "x\nDEL card", "..:..", "%00", "[a-z]", "\u0000x",
    "archzero", ":usage", "L0", "F0000000000", "V0", "'\"", "\\x00", "a b", "::", "generation",
)  # fmt: skip
_SAYS_NOTHING = ("status 0", "status 503")
"""No answer in time, and one that there was no time for: neither shows what became of a text."""
_FEW = 1_000
"""As a filter a payload may find some cards; nearly all would mean that it was read as a condition."""

Send = Callable[[str], str | None]
"""Sends a text through one entry point, and says what was wrong with the answer."""


def no_sql_injection(bench: Bench) -> Tried:
    """Texts made to end a statement are texts: no 500, no row more than asked for, nothing else changed.

    A text that was refused before any statement was sent is told, and is no trial.
    """
    tried = Tried(independent=False)
    reached: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    with connect(bench.database_url, autocommit=True) as connection:
        counted = connection.execute("SELECT count(*), max(updated_at) FROM cards").fetchone()
        for entry, send in _sql_entries(bench).items():
            for text in SQL_PAYLOADS:
                before = _statements(bench)
                wrong = send(text)
                if _statements(bench) == before and wrong is None:
                    refused[entry] += 1
                    continue
                reached[entry] += 1
                if wrong in _SAYS_NOTHING:
                    tried.unanswered(f"{entry} {text!r}")
                else:
                    tried.trial(wrong is None, f"{entry} {text!r}: {wrong}")
        after = connection.execute("SELECT count(*), max(updated_at) FROM cards").fetchone()
    if counted != after:
        tried.failures.append(f"cards were {counted}, are {after}")
    tried.mechanism = {
        "reached_sql": dict(reached), "refused_before": dict(refused), "moved": sum(reached.values()) > 0
    }  # fmt: skip
    return tried


def _sql_entries(bench: Bench) -> dict[str, Send]:
    """Every way by which a client's text can come near a statement."""

    def filtered(parameter: str, wrap: Callable[[str], str] = lambda text: text) -> Send:
        def send(text: str) -> str | None:
            status, page = bench.call("GET", f"/api/v1/cards?{parameter}={urllib.parse.quote(wrap(text), safe='')}")
            if status == 200 and page["total"] < _FEW:
                return None
            return None if status in (400, 422) else f"status {status}"

        return send

    def by_id(text: str) -> str | None:
        status, _ = bench.call("GET", f"/api/v1/cards/{urllib.parse.quote(text, safe='')}")
        return None if status in (400, 404, 422) else f"status {status}"

    def created(text: str) -> str | None:
        status, made = bench.call("POST", "/api/v1/cards", {"name": text, "type": "Risk", "description": text})
        if status != 201:
            return None if status in (400, 409, 422) else f"status {status}"
        bench.call("DELETE", f"/api/v1/cards/{made['id']}")
        return None if (made["name"], made["description"]) == (text, text) else f"stored as {made['name']!r}"

    return {
        "q": filtered("q"),
        "tags": filtered("tags"),
        "attributes": filtered("attributes", lambda text: json.dumps({"vendor": text})),
        "POST name, description": created,
        "type": filtered("type"),
        "ownerId": filtered("ownerId"),
        "minQuality": filtered("minQuality"),
        "cursor": filtered("cursor"),
        "id": by_id,
    }


def no_key_injection(bench: Bench) -> Tried:
    """No text of a request gets into the name of a key, and none reaches another's entry.

    A trial is a question that reached the store (a hit or a miss was counted); the keys themselves are looked at once.
    """
    tried = Tried(independent=False)
    reached: Counter[str] = Counter()
    target = f"/api/v1/cards/{bench.ids[0]}"
    document = bench.call("GET", target)
    for text in KEY_PAYLOADS:
        quoted = urllib.parse.quote(text, safe="")
        for entry in ("q", "tags"):
            before = bench.counts()
            status, _ = bench.call("GET", f"/api/v1/cards?{entry}={quoted}&pageSize=3")
            if bench.counts() == before and status in (400, 422):
                continue
            reached[entry] += 1
            if f"status {status}" in _SAYS_NOTHING:
                tried.unanswered(f"{entry} {text!r}")
                continue
            right = status in (200, 400, 422) and bench.call("GET", target) == document
            tried.trial(right, f"{entry} {text!r}: status {status}, or another's entry was changed")
    names = _key_names(bench)
    tried.failures += [f"a key of no known form: {name}" for name in names if not _is_known(name)]
    tried.mechanism = {"reached_store": dict(reached), "keys_looked_at": len(names), "moved": len(names) > 0}
    return tried


def _key_names(bench: Bench) -> list[str]:
    prefix = bench.service.namespace + ":"
    with redis.Redis.from_url(bench.stack.redis_url, socket_timeout=5) as client:
        names = [name.decode("latin-1") for name in client.scan_iter(prefix + "*", count=1000)]
    return [name.removeprefix(prefix) for name in names]


def _is_known(name: str) -> bool:
    if name in ("usage", "epoch", "sequence", "sequence:writers", "sequence:moved"):
        return True
    kind, _, rest = name.partition(":")
    entry = rest.partition(":")[0]
    if kind == "d":
        return len(entry) == NAME_BYTES and entry.isalnum() and entry == rest
    return kind in {known.value for known in Kind} and (entry == "generation" or (len(entry) == 32 and entry.isalnum()))


def _statements(bench: Bench) -> int:
    return int(metric(bench.service.url, "archzero_database_statements_total"))
