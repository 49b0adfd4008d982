"""An end for a connection whose server says nothing any more: stopped, or behind a network that swallows."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg


@contextmanager
def cut_after(connection: psycopg.AsyncConnection[Any], seconds: float) -> Iterator[None]:
    """Cut the connection where the block takes longer; whoever waits for it gets psycopg.OperationalError.

    A cancelled statement would not do: psycopg asks the server to end it, and waits for the answer.
    """
    handle = asyncio.get_running_loop().call_later(seconds, cut, connection)
    try:
        yield
    finally:
        handle.cancel()


def cut(connection: psycopg.AsyncConnection[Any]) -> None:
    """Cut it now, where it is still open; whoever waits for it gets psycopg.OperationalError."""
    # the descriptor stays libpq's; what is shut down is what both share
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as shared:
        shared.shutdown(socket.SHUT_RDWR)


def in_ms(seconds: float) -> str:
    """A time limit as PostgreSQL takes it; never 0, which is none."""
    return f"{max(round(seconds * 1000), 1)}ms"
