"""Whether a pooled connection still leads to its server: a system call, and a round trip only where there is doubt."""

from __future__ import annotations

import select

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool


async def still_answers(connection: psycopg.AsyncConnection[TupleRow], ask: bool) -> bool:
    """False for a connection that the server has ended: its socket has something to read before anything was asked.

    One system call where it has not; a round trip where it has (it may be a notice), or where it is to be asked anyway.
    """
    if connection.closed:
        return False
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0) or ask:
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.Error:
            return False
    return True
