"""Results of statements kept in Redis for anybody's psycopg code, and dropped by what a write touches.

    cache = ResultCache(database_url, redis_url, "shop")
    with psycopg_pool.ConnectionPool(database_url, connection_class=cache.connection) as pool: ...

Statements, parameters, cursors and row factories stay as they are (`cache.async_connection` for asyncio). What is kept,
what is not, and what the cache does not see: docs/result-cache.md.
"""

from __future__ import annotations

from archzero_lab.postgres.result_cache.cache import ResultCache

__all__ = ["ResultCache"]
