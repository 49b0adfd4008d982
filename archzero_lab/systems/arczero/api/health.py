"""GET /api/v1/health and /metrics."""

from __future__ import annotations

from typing import Any

from litestar import Response, get

from archzero_lab.systems.arczero.api.service import GivenService


@get("/api/v1/health", tags=["health"])
async def health(service: GivenService) -> Response[dict[str, Any]]:
    """ok, degraded (no Redis or a replica in trouble, full service all the same) or down (no database: 503)."""
    database = await service.database_answers()
    cache = "off"
    if service.cache is not None:
        redis_health = await service.cache.store.health()
        cache = (
            "ok"
            if redis_health["connected"] and redis_health["obeys"] and redis_health["refused"] is None
            else "degraded"
        )
    servers = service.replicas.facts() if service.replicas is not None else []
    degraded = cache == "degraded" or any(server["trouble"] for server in servers)
    status = "down" if not database else "degraded" if degraded else "ok"
    answer = {"status": status, "database": "ok" if database else "down", "cache": cache}
    return Response(
        answer | ({"servers": servers} if servers else {}),
        status_code=200 if database else 503,
        headers={} if database else {"Retry-After": "1"},
    )


@get("/metrics", tags=["health"], media_type="text/plain")
async def metrics(service: GivenService) -> Response[bytes]:
    """Counters and histograms in Prometheus' text form, summed over the worker processes."""
    return Response(service.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")
