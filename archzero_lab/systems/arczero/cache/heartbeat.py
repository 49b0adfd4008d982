"""A heartbeat's writes: keys that reach every server, all in one round trip where Redis knows the scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from archzero_lab.systems.arczero.cache.script_calls import Scripts, fence_of, new_generation


async def beat_in_one(scripts: Scripts, name: str, probe: Any) -> dict[str, Any] | None:
    """Write and delete a key as an invalidation does, and what the server tells of its replication.

    None where it refuses anything of it: it does not know the scripts yet, memory is full, or it takes no writes.
    """
    try:
        async with probe.pipeline(transaction=False) as pipe:
            pipe.evalsha(scripts.bump.sha, 1, name, fence_of(""), new_generation())
            pipe.evalsha(scripts.remove.sha, 1, name, "")
            pipe.info("replication")
            info: dict[str, Any] = (await pipe.execute())[-1]
            return info
    except ResponseError:
        return None


async def beat_on(scripts: Scripts, node: Any, name: str) -> None:
    """Write and delete a key of a Cluster's server as an invalidation does. Raises what that is refused with."""
    try:
        await _beat(scripts, node, name)
    except NoScriptError:
        for script in (scripts.bump, scripts.remove):
            await node.script_load(script.script)
        await _beat(scripts, node, name)
    except ResponseError:
        await node.delete(name)  # as an invalidation does where memory is full


async def _beat(scripts: Scripts, node: Any, name: str) -> None:
    async with node.pipeline(transaction=False) as pipe:
        pipe.evalsha(scripts.bump.sha, 1, name, fence_of(""), new_generation())
        pipe.evalsha(scripts.remove.sha, 1, name, "")
        await pipe.execute()


async def refused_of(scripts: Scripts, name: str, client: Any, timeout_s: float) -> str | None:
    """What Redis refuses of all that the cache asks of it, tried on a heartbeat's key; None where it takes everything,
    or could not be asked.

    An invalidation may go through while rights to read, to fill or to run scripts are taken: nothing stale comes of
    that, and the cache is of no use.
    """
    commands: dict[str, Callable[[], Awaitable[Any]]] = {
        "GET": lambda: client.get(name),
        "MGET": lambda: client.mget([name]),
        "SET": lambda: client.set(name, b"", px=1_000),
        "EVALSHA": lambda: client.evalsha(scripts.bump.sha, 1, name, fence_of(""), new_generation()),
        "UNLINK": lambda: client.unlink(name),
    }
    with suppress(Exception):  # whatever else it is, the licence tells of it
        async with asyncio.timeout(timeout_s):
            for command, ask in commands.items():
                try:
                    await ask()
                except NoScriptError:
                    continue  # it is loaded when it is first needed
                except ResponseError as error:
                    return f"{command}: {error}"
    return None
