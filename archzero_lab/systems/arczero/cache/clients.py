"""Redis clients by URL: one server (redis, rediss), Sentinel (redis+sentinel) or Cluster (redis+cluster)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from archzero_lab.errors import SettingsError, mask_secrets
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.shards import Address, Shards, SlotMap

REDIS_FAILED = (Exception,)
"""What a call to Redis may end with, decided here for all who ask it. Nothing narrower is true: beside redis-py's own
errors and the socket's, uvloop raises a RuntimeError for a transport that was closed, and redis-py an AttributeError or
ValueError for a connection that is closed while it opens or an answer cut in the middle."""
OnConnect = Callable[[Any], Awaitable[None]]


def is_cluster(url: str) -> bool:
    """Whether the URL is of a Cluster, where keys of one command must share a slot."""
    return urlsplit(url).scheme in ("redis+cluster", "rediss+cluster")


def is_sentinel(url: str) -> bool:
    """Whether the URL names sentinels, which know who leads."""
    return urlsplit(url).scheme in ("redis+sentinel", "rediss+sentinel")


def sentinels_of(url: str, settings: CacheSettings) -> tuple[str, list[Any]]:
    """The master's name, and a client of each sentinel of a URL that is_sentinel()."""
    name, _, _ = urlsplit(url).path.strip("/").partition("/")
    _, password, nodes = _places(url)
    return name, _sentinel(nodes, password, settings).sentinels


class _Leads:
    """Stands where redis-py would ask the first sentinel that answers."""

    def __init__(self, find: Callable[[], Awaitable[Address]]) -> None:
        self._find = find

    async def discover_master(self, name: str) -> Address:
        """Who leads."""
        return await self._find()


def open_client(
    url: str, settings: CacheSettings, connections: int, on_connect: OnConnect, protocol: int = 2,
    leads: Callable[[], Awaitable[Address]] | None = None,
) -> Any:  # fmt: skip
    """A client for the URL of one server, or of sentinels. `on_connect` is called with each new connection and must
    call its on_connect(). `leads` tells who leads behind Sentinel, instead of the first sentinel that answers.

    redis://, rediss:// (TLS; ?ssl_ca_certs=FILE), redis+sentinel://[:password@]host:port[,host:port…]/name[/db]; with
    an s after redis, over TLS; of redis+cluster see open_cluster(). Raises SettingsError for anything else.
    """
    options = _options(settings, on_connect, protocol)
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss", "unix"):
        try:
            pool = redis.BlockingConnectionPool.from_url(
                url, max_connections=connections, timeout=settings.timeout_s, **options
            )
        except ValueError as error:
            raise SettingsError(f"redis_url {mask_secrets(url)}: {error}") from None
        return redis.Redis.from_pool(pool)
    if not is_sentinel(url):
        raise SettingsError(
            f"redis_url {mask_secrets(url)}: unknown scheme; use redis, rediss, redis+sentinel or redis+cluster"
        )
    username, password, nodes = _places(url)
    if parts.scheme.startswith("rediss"):
        options |= {"ssl": True} | _of_query(url)
    options |= {"username": username, "password": password}
    name, _, db = parts.path.strip("/").partition("/")
    sentinel = _Leads(leads) if leads is not None else _sentinel(nodes, password, settings)
    by_sentinel = SentinelConnectionPool(name, sentinel, max_connections=connections, db=int(db or 0), **options)
    return redis.Redis.from_pool(by_sentinel)


def open_cluster(
    url: str, settings: CacheSettings, on_connect: OnConnect, connections: Sequence[int], on_change: Callable[[], None]
) -> list[Shards]:
    """Clients of a Cluster, redis+cluster://[:password@]host:port[,…], with so many connections a node each. They share
    one idea of whose the slots are; `on_change` hears of another one."""
    username, password, places = _places(url)
    is_tls = urlsplit(url).scheme == "rediss+cluster"
    kind = redis.SSLConnection if is_tls else redis.Connection
    more = {"username": username, "password": password, "connection_class": kind, **(_of_query(url) if is_tls else {})}

    def opener(number: int, on_connect: OnConnect) -> Callable[[Address], Any]:
        options = {**_options(settings, on_connect), **more, "max_connections": number, "timeout": settings.timeout_s}
        return lambda place: redis.Redis.from_pool(
            redis.BlockingConnectionPool(host=place[0], port=place[1], **options)
        )

    slots = SlotMap(places, opener(1, _greet), settings.timeout_s, on_change)
    return [Shards(slots, opener(number, on_connect)) for number in connections]


async def _greet(connection: Any) -> None:
    await connection.on_connect()


def _options(settings: CacheSettings, on_connect: OnConnect, protocol: int = 2) -> dict[str, Any]:
    return {
        "socket_timeout": settings.timeout_s,
        "socket_connect_timeout": settings.timeout_s,
        # the default retries turned one GET on a closed port into 4 s of waiting
        "retry": Retry(NoBackoff(), 0),
        "protocol": protocol,
        "redis_connect_func": on_connect,
    }


def _of_query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def _places(url: str) -> tuple[str | None, str | None, list[tuple[str, int]]]:
    """User, password, and where the nodes are."""
    credentials, _, places = urlsplit(url).netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    nodes = [(h or "127.0.0.1", int(port or 6379)) for h, _, port in (p.rpartition(":") for p in places.split(","))]
    return unquote(username) or None, unquote(password) or None, nodes


def _sentinel(nodes: list[tuple[str, int]], password: str | None, settings: CacheSettings) -> Sentinel:
    kwargs = {"socket_timeout": settings.timeout_s, "password": password, "retry": Retry(NoBackoff(), 0)}
    return Sentinel(nodes, sentinel_kwargs=kwargs)


async def close_client(client: Any) -> None:
    """Close a client with its pools."""
    await client.aclose()
    if hasattr(client, "connection_pool"):
        await client.connection_pool.aclose()
