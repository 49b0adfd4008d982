"""The outbox kept small where nobody drains it: many old rows become one that says the same of every card."""

from __future__ import annotations

import asyncio
import logging

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from archzero_lab.postgres.pool import Database
from archzero_lab.systems.arczero.cache.keys import Kind

log = logging.getLogger(__name__)
MANY = 5_000
"""Rows from which they are made one: to drain so many one by one takes longer than to load every card anew."""
_AT_ONCE = 50_000
"""Rows that one statement takes: millions would not end before its time-out, and be as many the next time."""
OLD_S = 60.0
_PERIOD_S = 30.0

MAKE_ONE = f"""
WITH many AS (SELECT count(*) > {MANY} AS found FROM (SELECT FROM cache_outbox LIMIT {MANY + 1}) c),
gone AS (
    DELETE FROM cache_outbox WHERE (SELECT found FROM many) AND ctid = ANY(ARRAY(
        SELECT ctid FROM cache_outbox WHERE created_at <= clock_timestamp() - %s * interval '1 second'
        LIMIT {_AT_ONCE} FOR UPDATE SKIP LOCKED))
    RETURNING 1)
INSERT INTO cache_outbox (card_ids, kinds)
SELECT NULL, ARRAY[{", ".join(f"'{kind.value}'" for kind in Kind)}] WHERE EXISTS (SELECT FROM gone)
"""
"""Replace rows of at least that age, where there are MANY, by one: whoever drains it forgets at least as much.

By their places, since a join is planned by statistics, which after a VACUUM of the drained table say that it is empty:
each of a hundred thousand rows was looked for in all of them, and the statement never ended.
"""


async def keep_small(database: Database) -> None:
    """For a service that has no cache: look every half minute, for as long as it runs."""
    while True:
        try:
            while await _make_one(database):
                pass  # there may be more
        except (psycopg.Error, OSError, PoolClosed, PoolTimeout, TooManyRequests) as error:
            log.debug("outbox: %s", type(error).__name__)
        await asyncio.sleep(_PERIOD_S)  # how often it is looked at


async def _make_one(database: Database) -> bool:
    async with database.connection() as connection:
        return (await connection.execute(MAKE_ONE.encode(), [OLD_S])).rowcount > 0
