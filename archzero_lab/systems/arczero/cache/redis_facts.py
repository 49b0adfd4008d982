"""What a Redis tells of itself: version, memory, evictions, keys."""

from __future__ import annotations

from typing import Any


async def server_facts(client: Any) -> dict[str, Any]:
    """Its facts; of a Cluster's, memory and evictions summed. Raises what redis-py raises."""
    info = await client.info()
    if "redis_version" not in info:  # a Cluster answers by node
        nodes = list(info.values())
        summed = ("used_memory", "maxmemory", "evicted_keys")
        info = {**nodes[0], **{name: sum(int(node.get(name, 0)) for node in nodes) for name in summed}}
    return {
        "version": info.get("redis_version", ""),
        "used_memory_bytes": int(info.get("used_memory", 0)),
        "maxmemory_bytes": int(info.get("maxmemory", 0)),
        "evicted_keys": int(info.get("evicted_keys", 0)),
        "keys": int(await client.dbsize()),
    }
