"""The versions of the servers, told the same way everywhere: PostgreSQL 18.6, Valkey 9.1.2."""

from __future__ import annotations

from typing import Any

import redis

from archzero_lab.postgres.connection import Connection


def postgres_version(connection: Connection) -> str:
    """A server's version, without what a distribution adds to it."""
    row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]).split()[0] if row else ""


def redis_version(info: dict[str, Any]) -> tuple[str, str]:
    """(Redis or Valkey, its version) of what INFO tells."""
    if "valkey_version" in info:
        return "Valkey", str(info["valkey_version"])
    return "Redis", str(info.get("redis_version", ""))


def versions_in_words(connection: Connection, redis_url: str) -> str:
    """Both servers' in a phrase; of a Redis that does not answer nothing."""
    said = f"PostgreSQL {postgres_version(connection)}"
    try:
        with redis.Redis.from_url(redis_url, socket_timeout=5) as client:
            info: Any = client.info()
    except redis.RedisError:
        return said
    return f"{said}, {' '.join(redis_version(info))}"
