"""The checks behind claims that are no latency can fail, and say what failed."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import redis

from archzero_lab.errors import ServerError
from archzero_lab.postgres.connection import connect
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.contents import read_contents
from archzero_lab.systems.arczero.cards.model import CardFilter
from archzero_lab.systems.arczero.checks import database as database_checks
from archzero_lab.systems.arczero.checks.bench import Bench
from archzero_lab.systems.arczero.checks.freshness import immediate_invalidation, pattern_invalidation, ttl_policies
from archzero_lab.systems.arczero.checks.injection import no_key_injection, no_sql_injection
from archzero_lab.systems.arczero.checks.registry import CHECKS
from archzero_lab.systems.arczero.checks.statements_by_items import ITEMS, NO_DATABASE, grows, statements_by_items
from archzero_lab.systems.arczero.services import RunningService, Serving, start_service
from archzero_lab.systems.http import call, metric


@pytest.fixture(scope="module")
def ids(database_url: str) -> list[str]:
    """Cards to try things on."""
    with connect(database_url, autocommit=True) as connection:
        rows = connection.execute(
            "INSERT INTO cards (name, type, lifecycle_phase, quality_score, description)"
            " SELECT 'Card ' || n, 'Risk', 'Active', 50, 'a service' FROM generate_series(1, 100) AS n RETURNING id"
        ).fetchall()
    return [str(row[0]) for row in rows]


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_holds_on_the_service(stack: Stack, database_url: str, ids: list[str], name: str) -> None:
    service = start_service(stack, Serving(f"checked-{name}", database_url, cached=True))
    try:
        found = CHECKS[name](Bench(stack, service, database_url, ids))
    finally:
        stack.registry.stop(service.record)
    assert found.failures == []
    assert found.trials >= 20
    assert found.mechanism["moved"], found.mechanism


def test_what_the_cache_holds_is_told_by_kind_with_what_is_asked_for_most(
    stack: Stack, database_url: str, ids: list[str]
) -> None:
    service = start_service(stack, Serving("told", database_url, cached=True))
    search = CardFilter(q="service")
    held, rounds = {"card": 2, "search": 1}, 0
    asked: dict[object, int] = {}
    try:
        deadline = time.monotonic() + 60
        while True:
            found = read_contents(stack.redis_url, service.namespace)
            kept = {kind: of_kind.keys for kind, of_kind in found.kinds.items()}
            if kept != held:  # on a machine that is busy the service may answer without its cache for a moment
                rounds += 1
                for path in [f"/api/v1/cards/{ids[0]}"] * 3 + [f"/api/v1/cards/{ids[1]}", "/api/v1/search?q=service"]:
                    assert call(service.url, "GET", path)[0] == 200
                asked = {uuid.UUID(ids[0]): 3 * rounds, uuid.UUID(ids[1]): rounds, search: rounds}
            elif dict(found.hottest) == asked:  # each process adds its counts up every few seconds
                break
            assert time.monotonic() < deadline, (kept, found.hottest, asked)
            time.sleep(0.1)
    finally:
        stack.registry.stop(service.record)
    assert all(of_kind.bytes > 300 and of_kind.ttl_s for of_kind in found.kinds.values())
    assert found.hottest[0][0] == uuid.UUID(ids[0])
    assert found.whole
    with pytest.raises(ServerError, match="does not answer"):
        read_contents("redis://me:s3cret@127.0.0.1:1", "nothing")


def test_a_pool_that_lets_everybody_wait_is_found(
    stack: Stack, database_url: str, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_checks, "_WAIT_S", 60.0)
    monkeypatch.setattr(database_checks, "_HANGS_S", 1.5)
    service = start_service(stack, Serving("waits", database_url, cached=False))
    try:
        found = CHECKS["pool_no_exhaustion"](Bench(stack, service, database_url, ids))
    finally:
        stack.registry.stop(service.record)
    assert found.failures == ["28 requests hung for 1.5 s"]
    assert not found.mechanism["moved"]


def test_every_endpoint_is_asked_for_1_10_and_100_items_and_none_takes_more_statements(
    stack: Stack, database_url: str, ids: list[str]
) -> None:
    counted = "SELECT count(*) FILTER (WHERE name LIKE 'Imported %'), count(*) FROM cards"
    with connect(database_url) as connection:
        before = connection.execute(counted).fetchone()
    found = statements_by_items(stack, database_url, ids)
    assert all(set(counts) == set(ITEMS) for counts in found.values())
    assert [name for name, counts in found.items() if min(counts.values()) < 0] == [], "an endpoint answered wrong"
    assert [name for name, counts in found.items() if grows(counts)] == []
    assert all(1 <= min(counts.values()) == max(counts.values()) for counts in found.values()), found
    with connect(database_url) as connection:
        after = connection.execute(counted).fetchone()
    assert before is not None
    assert after is not None
    # as many were imported as were counted for, and whatever else was created is gone again
    assert (after[0] - before[0], after[1] - before[1]) == (sum(ITEMS), sum(ITEMS))
    service = start_service(stack, Serving("endpoints", database_url, cached=False))
    try:
        sent = metric(service.url, "archzero_database_statements_total")
        for endpoint in NO_DATABASE:
            method, path = endpoint.split()
            if path != "/metrics":
                assert call(service.url, method, path)[0] == 200, endpoint
        assert metric(service.url, "archzero_database_statements_total") == sent
        told = call(service.url, "GET", "/api-docs/openapi.json")[1]
    finally:
        stack.registry.stop(service.record)
    there = {f"{method.upper()} {path}" for path, methods in told["paths"].items() for method in methods}
    assert there == {*found, *NO_DATABASE}, "no endpoint is left out"


def test_statements_that_grow_with_the_items_are_found() -> None:
    assert not grows({1: 2, 10: 2, 100: 2})
    assert grows({1: 2, 10: 11, 100: 101})
    assert grows({1: 1, 10: 1, 100: 2})


def test_another_ttl_than_the_policy_is_found(stack: Stack, database_url: str, ids: list[str]) -> None:
    short = replace(stack, settings=replace(stack.settings, cache=replace(stack.settings.cache, ttl_list_s=600)))
    service = start_service(short, Serving("short-ttl", database_url, cached=True))
    try:
        found = ttl_policies(Bench(short, service, database_url, ids))
    finally:
        stack.registry.stop(service.record)
    assert len(found.failures) == found.mechanism["list"] > 0
    assert all(failure.startswith("list expires after") for failure in found.failures)


def test_an_entry_from_before_is_not_taken_for_a_shorter_ttl(stack: Stack, database_url: str, ids: list[str]) -> None:
    service = start_service(stack, Serving("older-entries", database_url, cached=True))
    try:
        bench = Bench(stack, service, database_url, ids)
        client = redis.Redis.from_url(stack.redis_url)
        key = f"{service.namespace}:card:{ids[30].replace('-', '')}"
        deadline = time.monotonic() + 30
        while not isinstance(value := client.get(key), bytes):  # a read that Redis answers too late stores nothing
            assert time.monotonic() < deadline
            bench.call("GET", f"/api/v1/cards/{ids[30]}")
        older = int(value[27:40]) - 600_000  # as if it had been stored ten minutes ago
        client.set(key, value[:27] + b"%013d" % older + value[40:])
        client.close()
        assert ttl_policies(bench).failures == []
    finally:
        stack.registry.stop(service.record)


def test_without_a_cache_there_is_no_mechanism(stack: Stack, database_url: str, ids: list[str]) -> None:
    service = start_service(stack, Serving("unchecked", database_url, cached=False))
    try:
        bench = Bench(stack, service, database_url, ids)
        assert not ttl_policies(bench).mechanism["moved"]
        assert not immediate_invalidation(bench).mechanism["moved"]
        assert not pattern_invalidation(bench).mechanism["moved"]
    finally:
        stack.registry.stop(service.record)


def test_a_text_that_is_refused_before_any_statement_is_no_trial(
    stack: Stack, database_url: str, ids: list[str]
) -> None:
    service = start_service(stack, Serving("injected", database_url, cached=True))
    try:
        found = no_sql_injection(Bench(stack, service, database_url, ids))
    finally:
        stack.registry.stop(service.record)
    assert found.trials == sum(found.mechanism["reached_sql"].values())
    assert set(found.mechanism["refused_before"]) == {"type", "ownerId", "minQuality", "cursor", "id"}
    assert not found.independent


class Wrong(BaseHTTPRequestHandler):
    """A service that answers every read with version 1 and 5,000 cards, counts hits, and breaks on a quote."""

    hits = 0

    def _answer(self) -> None:
        if self.path == "/metrics":
            self._say(200, b"")
            return
        Wrong.hits += 1
        version = 2 if self.command == "PUT" else 1
        card = {"id": "a", "version": version, "name": "Card", "type": "Risk"}
        counters = {"hits": Wrong.hits, "misses": 0}
        body = card | {"data": [card], "total": 5_000} | counters
        self._say(500 if "%27" in self.path else 200, json.dumps(body).encode())

    def _say(self, status: int, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = _answer  # the library's names

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def wrong_service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Wrong)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def test_a_service_that_is_wrong_is_found_out(stack: Stack, database_url: str, ids: list[str]) -> None:
    with wrong_service() as url:
        service = RunningService("wrong", url, None, "wrong")  # type: ignore[arg-type]  # no process of ours
        bench = Bench(stack, service, database_url, ["a"] * 60)
        stale = immediate_invalidation(bench)
        assert len(stale.failures) == stale.trials
        assert len(pattern_invalidation(bench).failures) > 0
        injected = no_sql_injection(bench)
        assert any("500" in failure for failure in injected.failures)
        assert any(failure.startswith("q ") and "status 200" in failure for failure in injected.failures), "every row"
        assert no_key_injection(bench).mechanism["moved"] is False
