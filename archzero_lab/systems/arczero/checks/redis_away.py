"""The check that the service goes on without Redis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.systems.arczero.checks.bench import Bench
from archzero_lab.systems.arczero.services import Serving, start_service, url_of_service
from archzero_lab.systems.checks import Tried
from archzero_lab.systems.http import NO_ANSWER_IN_TIME, call

_TRIES = 40


def works_without_redis(bench: Bench) -> Tried:
    """A service whose Redis is killed goes on reading and writing, and says that it is degraded."""
    tried = Tried()
    hurt_redis = HurtRedis(bench.stack)
    try:
        own = replace(bench.stack, redis_url=hurt_redis.server.url, redis_pid=hurt_redis.server.record.pid)
        service = start_service(
            own, Serving("without-redis", url_of_service(bench.stack, bench.database_url), cached=True)
        )
        try:
            call(service.url, "GET", f"/api/v1/cards/{bench.ids[0]}")
            hurt_redis.kill()
            for number, card_id in enumerate(bench.ids[:_TRIES]):
                path = f"/api/v1/cards/{card_id}" if number % 2 else f"/api/v1/cards?page={number + 1}"
                _try(tried, service.url, "GET", path)
                if number % 4 == 0:
                    _try(tried, service.url, "PUT", f"/api/v1/cards/{card_id}", {"qualityScore": number})
            _, health = call(service.url, "GET", "/api/v1/cache/health")
            # a read's error or a heartbeat's, whichever came first, opened the breaker: then Redis was really away
            tried.mechanism = {"health": health["status"], "breaker": health["breaker"]}
            tried.mechanism["moved"] = health["status"] == "degraded"
        finally:
            bench.stack.registry.stop(service.record)
    finally:
        hurt_redis.close()
    return tried


def _try(tried: Tried, url: str, method: str, path: str, body: Any = None) -> None:
    """A request is a trial where it is answered, or where nobody is there to answer it."""
    status, answer = call(url, method, path, body)
    if (status, answer) == (0, NO_ANSWER_IN_TIME):
        tried.unanswered(f"{method} {path}")
    else:
        tried.trial(status == 200, f"{method} {path}: {status}")
