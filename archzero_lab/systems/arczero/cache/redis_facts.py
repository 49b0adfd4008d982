"""What a Redis tells of itself: version, memory, evictions, keys; a Cluster's masters together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from archzero_lab.systems.arczero.cache.clients import REDIS_FAILED
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
    told, sizes = [], []
    for server in await servers_of(client, names):
        with suppress(*(REDIS_FAILED if isinstance(client, Shards) else ())):  # the others go on without it
            info, size = await server.info(), await server.dbsize()
            told.append(info)
            sizes.append(size)
    if not told:
        raise RedisConnectionError("no master of the Cluster answers")
    summed = {name: sum(int(info.get(name, 0)) for info in told) for name in _SUMMED}
    return {
        "version": told[0].get("redis_version", ""),
        "used_memory_bytes": summed["used_memory"],
        "maxmemory_bytes": summed["maxmemory"],
        "evicted_keys": summed["evicted_keys"],
        "keys": sum(sizes),
    }
