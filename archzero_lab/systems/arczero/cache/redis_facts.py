"""What a Redis tells of itself: of a Cluster each server that holds entries is asked, for redis-py asks one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

_SUMMED = ("used_memory", "maxmemory", "evicted_keys")


async def owners_of(client: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """How to address each server that holds one of these keys: once nothing, or in a Cluster a node each, as far as the
    client knows. Raises what redis-py raises."""
    if not hasattr(client, "nodes_manager"):
        return [{}]
    await client.initialize()
    nodes = {node.name: node for node in map(client.get_node_from_key, names)}
    return [{"target_nodes": nodes[name]} for name in sorted(nodes)]


async def info_of_each(client: Any, names: Sequence[str], *sections: str) -> list[dict[str, Any]]:
    """INFO of each server that holds one of these keys. Raises what redis-py raises."""
    owners = await owners_of(client, names)
    return list(await asyncio.gather(*(client.info(*sections, **owner) for owner in owners)))


async def server_facts(client: Any, names: Sequence[str]) -> dict[str, Any]:
    """Version, memory, evictions, number of keys; of a Cluster's servers summed. Raises what redis-py raises."""
    owners = await owners_of(client, names)
    told = await asyncio.gather(*(client.info(**owner) for owner in owners))
    sizes = await asyncio.gather(*(client.dbsize(**owner) for owner in owners))
    summed = {name: sum(int(info.get(name, 0)) for info in told) for name in _SUMMED}
    return {
        "version": told[0].get("redis_version", ""),
        "used_memory_bytes": summed["used_memory"],
        "maxmemory_bytes": summed["maxmemory"],
        "evicted_keys": summed["evicted_keys"],
        "keys": sum(sizes),
    }
