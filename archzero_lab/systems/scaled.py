"""What the study of scaling asks of a system: a read and a write of it, on a server that it fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from archzero_lab.servers.postgres_server import PostgresServer
from archzero_lab.servers.stack import Stack

Query = tuple[str, Sequence[Any]]
"""SQL as psycopg takes it, and its values; JSON can hold both."""


@dataclass(frozen=True)
class Asked:
    """`database`: its name on the server; reads and writes to be done one after the other, again and again."""

    database: str
    reads: Sequence[Query]
    writes: Sequence[Query]


class Scaled(Protocol):
    """A system whose reads may be spread."""

    def fill(self, stack: Stack, primary: PostgresServer) -> Asked:
        """A small database on a server of an experiment's own."""
