"""Who writes: a token that the writing transaction carries into the cache outbox, where it names its own row."""

from __future__ import annotations

from contextvars import ContextVar
from typing import LiteralString

ORIGIN: ContextVar[str] = ContextVar("origin", default="")
"""Empty for a writer that does not look after its outbox row itself."""

# First in a writing statement, joined to it, so that it is set before the statement's triggers run.
WITH_ORIGIN: LiteralString = (
    "WITH o AS MATERIALIZED (SELECT set_config('archzero.origin', %(origin)s, true) AS origin) "
)
