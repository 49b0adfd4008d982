"""/api/v1/cache: health, statistics, and what changes the cache, guarded."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Annotated, Any

from litestar import Request, Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler
from litestar.params import QueryParameter

from archzero_lab.systems.arczero.api.service import GivenService

_PROXY_TELLS = ("forwarded", "via", "x-real-ip", "x-forwarded-", "x-client-ip", "true-client-ip", "cf-", "fly-")
"""What proxies add; of one that adds nothing docs/security.md tells: set a token."""


def guard_admin(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let through who has the admin token, or, where none is set, who calls from this machine directly."""
    token: str = connection.app.state.service.admin_token
    if token:
        given = connection.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise NotAuthorizedException("send the admin token: Authorization: Bearer <token>")
        return
    client = connection.client
    direct = not any(name.startswith(_PROXY_TELLS) for name in connection.headers)
    if client is None or not direct or not _is_loopback(client.host):
        raise PermissionDeniedException("only from this machine, since no admin token is set (ARCHZERO_ADMIN_TOKEN)")


@get("/health")
async def cache_health(service: GivenService) -> dict[str, Any]:
    """healthy, degraded (Redis is away, or refuses what `refused` says; the service goes on without it) or off.

    Besides: size, memory and latency.
    """
    if service.cache is None:
        return {"status": "off"}
    health = await service.cache.store.health()
    breaker = "open" if service.cache.store.link.breaker.is_open else "closed"
    sound = health["connected"] and health["obeys"] and health["refused"] is None
    return {"status": "healthy" if sound else "degraded", "breaker": breaker, **health}


@get("/stats")
async def cache_stats(service: GivenService) -> dict[str, Any]:
    """Counters since the last reset, over all worker processes, in all and by kind of key."""
    return {"enabled": service.cache is not None, **service.cache_counters()}


@post("/stats/reset", status_code=200, guards=[guard_admin])
async def reset_stats(service: GivenService) -> dict[str, str]:
    """Begin counting anew."""
    service.reset_cache_counters()
    return {"status": "reset"}


@post("/flush", status_code=200, guards=[guard_admin])
async def flush(service: GivenService) -> Response[dict[str, str]]:
    """Make every entry of this service invalid, in constant time; nothing else in Redis is touched."""
    if service.cache is None:
        return Response({"status": "off"})
    done = await service.cache.store.flush()
    return Response({"status": "flushed" if done else "owed: Redis is away; done before it is read again"})


@post("/warm", status_code=200, guards=[guard_admin])
async def warm(
    service: GivenService,
    request: Request[Any, Any, Any],
    most: Annotated[int, QueryParameter(name="most", ge=0, le=5_000)] = 500,
) -> dict[str, Any]:
    """Load what is asked for most and the first pages; tell what was loaded and how long it took."""
    if service.cache is None:
        return {"status": "off"}
    result = await service.cache.warm(most)
    return {"status": "warmed", **result}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


router = Router(
    path="/api/v1/cache", route_handlers=[cache_health, cache_stats, reset_stats, flush, warm], tags=["cache"]
)
