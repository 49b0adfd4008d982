"""What a request carries down to the services without being an argument of every method."""

from __future__ import annotations

from contextvars import ContextVar
from typing import LiteralString

ORIGIN: ContextVar[str] = ContextVar("origin", default="")
"""Who writes: a token that the writing transaction takes into the cache outbox, where it names its own row.

Empty for a writer that does not look after that row itself."""

STRICT: ContextVar[bool] = ContextVar("strict", default=False)
"""Whether a read wants what Redis or the database says now, not what a process remembers (Cache-Control: no-cache)."""

# First in a writing statement, joined to it, so that it is set before the statement's triggers run.
WITH_ORIGIN: LiteralString = (
    "WITH o AS MATERIALIZED (SELECT set_config('archzero.origin', %(origin)s, true) AS origin) "
)
