"""What the cached service is measured against: an ASGI application that does one Redis GET a request, or none."""

from __future__ import annotations

import os
from typing import Any

import redis.asyncio as redis

_PREFIX = "/api/v1/cards/"
_MEMORY = os.environ["BARE_MODE"] == "memory"
_client: Any = None
_documents: dict[str, bytes] = {}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a card's document from Redis (one GET a request) or from a dictionary."""
    global _client
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            _client = redis.Redis.from_url(os.environ["BARE_REDIS_URL"], max_connections=64)
            if _MEMORY:
                async for key in _client.scan_iter("bare:*", count=1000):
                    _documents[key.decode()[5:]] = await _client.get(key)
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    card_id = scope["path"][len(_PREFIX) :]
    body = _documents.get(card_id) if _MEMORY else await _client.get("bare:" + card_id)
    if body is None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
