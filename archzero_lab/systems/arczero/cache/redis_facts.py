"""What a Redis tells of itself: version, memory, evictions, keys; a Cluster's masters together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from archzero_lab.systems.arczero.cache.shards import Shards

_SUMMED = ("used_memory", "maxmemory", "evicted_keys")


async def servers_of(client: Any, names: Sequence[str]) -> list[Any]:
    """A client of each server that has one of these keys. Raises what redis-py raises."""
    if not isinstance(client, Shards):
        return [client]
    await client.initialize()
    return [client.node(address) for address in client.by_owner(names)]


async def server_facts(client: Any, names: Sequence[str]) -> dict[str, Any]:
    """Version, memory, evictions, number of keys; of a Cluster's servers summed. Raises what redis-py raises."""
    servers = await servers_of(client, names)
    each = await asyncio.gather(*(_facts_of(server) for server in servers), return_exceptions=True)
    answers = [answer for answer in each if not isinstance(answer, BaseException)]
    told, sizes = [info for info, _ in answers], [size for _, size in answers]
    if not told:
        raise next((e for e in each if isinstance(e, BaseException)), RedisConnectionError("nobody has a slot"))
    summed = {name: sum(int(info.get(name, 0)) for info in told) for name in _SUMMED}
    return {
        "version": told[0].get("redis_version", ""),
        "used_memory_bytes": summed["used_memory"],
        "maxmemory_bytes": summed["maxmemory"],
        "evicted_keys": summed["evicted_keys"],
        "keys": sum(sizes),
    }


async def _facts_of(server: Any) -> tuple[dict[str, Any], int]:
    return await server.info(), int(await server.dbsize())
