"""One process's connections to Redis, and whom they lead to: each new one asks its server at once who it is.

Behind Sentinel all lead to the one that leads: another is not connected to, and what led to the one before is dropped.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.clients import (
    REDIS_FAILED,
    OnConnect,
    close_client,
    is_cluster,
    is_sentinel,
    open_client,
    open_cluster,
)
from archzero_lab.systems.arczero.cache.leader import Leader
from archzero_lab.systems.arczero.cache.pipe import Pipe
from archzero_lab.systems.arczero.cache.redis_facts import servers_of
from archzero_lab.systems.arczero.cache.shards import Address

_MOST_LOOKS = 200


class Connections:
    """What a link sends by: `client` for writers and loads, `probe` for heartbeats, `pipe` for reads.

    `names` are keys that every server which holds entries has one of. `on_other` hears of a new connection that leads
    to another Redis than the one in `known`, or to any while nothing is `known`.
    """

    def __init__(self, url: str, settings: CacheSettings, names: Sequence[str], on_other: Callable[[], None]) -> None:
        self._url, self._settings, self._names, self._on_other = url, settings, names, on_other
        self.on_other_leader: Callable[[], None] = lambda: None
        self.is_clustered = is_cluster(url)
        self.leader = Leader(url, settings) if is_sentinel(url) else None
        self.client: Any
        self.probe: Any
        if self.is_clustered:
            numbers = [settings.pool_size, 1]
            self.client, self.probe = open_cluster(url, settings, self._connected, numbers, on_other)
        else:
            self.client = self._open(settings.pool_size, self._connected)
            # behind Sentinel a pool that is used up does not wait, and each writer who looks takes one
            self.probe = self._open(_MOST_LOOKS if self.leader is not None else 1, self._connected)
        self._for_pipe: Any = None if self.is_clustered else self._open(1, self._connected)
        self.pipe = None if self.is_clustered else Pipe(self._open_for_pipe, settings.timeout_s)
        """What reads travel by; in a Cluster they go by the client, which knows whose each slot is."""
        self.known: set[str] = set()
        """The run ids of the Redis that is believed: of a Cluster, each master's; none while it is suspected."""
        self.beat_timeout_s = (2 if self.is_clustered or self.leader is not None else 1) * settings.timeout_s
        """Sentinels, and whose a Cluster's slots are, are asked first."""
        self._led_by: Address | None = None
        """Whom all connections lead to, once what led to another has been dropped."""

    @property
    def lead_to_the_one(self) -> bool:
        """Whether what is told by them is told to the only server that anybody believes."""
        return self.leader is None or (self.leader.is_relied_on and self.leader.address == self._led_by)

    @property
    def relied_until(self) -> float:
        """Until when (monotonic) that holds of whoever leads."""
        return math.inf if self.leader is None else self.leader.relied_until

    async def follow(self) -> None:
        """Where sentinels say who leads, ask them, and drop what leads to another. Raises RedisConnectionError."""
        if self.leader is None:
            return
        address = await self.leader.confirm()
        if address != self._led_by:
            self._on_other()
            self.on_other_leader()
            # a connection may take long to close; until all are, nothing counts, and it is done again
            pools = [client.connection_pool for client in (self.client, self.probe)]
            await asyncio.gather(*(pool.disconnect() for pool in pools), return_exceptions=True)
            self._led_by = address

    def open_listening(self) -> Any:
        """A client with one connection for who only listens to the Redis that is believed."""
        return self._open(1, self._lead, protocol=3)

    async def use_each(self) -> None:
        """Use every connection of the pool once, so that dead ones are made anew now and not by a reader."""
        servers: list[Any] = []
        with suppress(*REDIS_FAILED):
            servers = await servers_of(self.client, self._names) * self._settings.pool_size
            servers += await servers_of(self.probe, self._names)
        made: list[Awaitable[Any]] = [server.ping() for server in servers]
        if self.pipe is not None:
            made.append(self.pipe.renew())  # it may lead to who is a replica by now
        await asyncio.gather(*made, return_exceptions=True)

    async def ask_run_ids(self) -> set[str]:
        """The run id of each server that tells it."""
        servers: list[Any] = []
        with suppress(*REDIS_FAILED):
            servers = await servers_of(self.probe, self._names)
        # each has its own time-out
        told = await asyncio.gather(*(server.info("server") for server in servers), return_exceptions=True)
        return {str(info["run_id"]) for info in told if not isinstance(info, BaseException)}

    async def close(self) -> None:
        """Close all."""
        if self.pipe is not None:
            await self.pipe.close()
            await close_client(self._for_pipe)
        await close_client(self.client)
        await close_client(self.probe)
        if self.is_clustered:
            await self.client.slots.close()
        if self.leader is not None:
            await self.leader.close()

    def _open(self, connections: int, on_connect: OnConnect, protocol: int = 2) -> Any:
        leads = self.leader.find if self.leader is not None else None
        return open_client(self._url, self._settings, connections, on_connect, protocol, leads)

    async def _open_for_pipe(self) -> Any:
        connection = self._for_pipe.connection_pool.make_connection()
        await connection.connect()
        return connection

    async def _lead(self, connection: Any) -> None:
        if self.leader is not None and (connection.host, connection.port) != self.leader.address:
            raise RedisConnectionError("another leads by now")
        await connection.on_connect()

    async def _connected(self, connection: Any) -> None:
        await self._lead(connection)
        if not self.known or not await self._is_known(connection):
            self._on_other()

    async def _is_known(self, connection: Any) -> bool:
        """Whether a new connection leads to the Redis that was validated: then nothing can have been missed."""
        await connection.send_command("INFO", "server")
        info = await connection.read_response()
        text = info.decode() if isinstance(info, bytes) else str(info)
        return any(line.removeprefix("run_id:") in self.known for line in text.splitlines() if "run_id:" in line)
