"""What verify-consistency does to the card service: a hot set of its own, processes that write and read it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import PoolSettings
from archzero_lab.systems.arczero.django_peers import DJANGO_PEERS
from archzero_lab.systems.arczero.peers import PEERS
from archzero_lab.systems.arczero.portfolios import alone_with_base, choose_portfolio, ensure_base
from archzero_lab.systems.arczero.service_config import ServiceConfig
from archzero_lab.systems.arczero.statement_results import STATEMENT_CACHE

_READERS = 4
_WRITERS = 2
_HOT = 8
_SQL_ONLY = 2
_PURPOSE = "consistency"


class HotSet:
    """Implements systems.histories.Recorded: a few cards of one owner, which lists and searches find together."""

    change = "UPDATE cards SET version = version + 1 WHERE id = %(item)s RETURNING version"
    change_many = (
        "WITH changed AS (UPDATE cards SET version = version + 1 WHERE id = %(item)s OR id IN"
        " (SELECT id FROM cards WHERE description <> 'hot set' ORDER BY id LIMIT 1100) RETURNING id, version)"
        " SELECT version FROM changed WHERE id = %(item)s"
    )

    def __init__(self, config: ServiceConfig, seed: int) -> None:
        self.database_url = config.database_url
        self._config = config
        self._seed = seed
        self._owner = str(uuid.uuid4())
        with connect(self.database_url, autocommit=True) as connection:
            rows = connection.execute(
                "UPDATE cards SET owner_id = %s, description = 'hot set', version = 1 WHERE id IN"
                " (SELECT id FROM cards ORDER BY id LIMIT %s) RETURNING id",
                [self._owner, _HOT + _SQL_ONLY],
            ).fetchall()
            connection.execute("DELETE FROM cache_outbox")
        self._hot = [str(row[0]) for row in rows]
        self.by_sql: Sequence[str] = self._hot[-_SQL_ONLY:]

    def command(self, job: Path) -> list[str]:
        """The worker's program."""
        return [sys.executable, "-P", "-m", "archzero_lab.systems.arczero.consistency.open_cards", str(job)]

    def job(self, number: int, without: Collection[str], of: str | None) -> dict[str, Any]:
        """See worker.py."""
        return {
            "of": of,
            "service": self._config.encode(),
            "without": list(without),
            "hot": self._hot,
            "written": self._hot[:-_SQL_ONLY],
            "owner": self._owner,
            "seed": f"{self._seed}.{number}",
            "readers": _READERS,
            "writers": _WRITERS,
        }


class CardHistories:
    """Implements systems.histories.Histories."""

    guards: Sequence[str] = (
        "lease", "fence", "dependencies", "sequence", "outbox", "generation", "breaker-drain", "obeyed", "moved",
    )  # fmt: skip
    libraries: Sequence[str] = (*PEERS, *DJANGO_PEERS, STATEMENT_CACHE)

    @contextmanager
    def opened(self, stack: Stack, redis_url: str, seed: int, *, near: bool) -> Iterator[HotSet]:
        """A copy of a small portfolio; the service's cache is on the given Redis."""
        name = stack.database_name(_PURPOSE)
        with alone_with_base(stack):
            base = ensure_base(stack, choose_portfolio(2_000, 1, None, None), lambda share: None)
            url = create_database(stack.postgres_url, name, template=base.name)
        settings = stack.settings.cache
        try:
            yield HotSet(
                ServiceConfig(
                    database_url=url,
                    redis_url=redis_url,
                    namespace=f"consistency:{seed}",
                    cache=replace(settings, near_bytes=settings.near_bytes if near else 0),
                    pool=PoolSettings(min_size=2, max_size=8, check_before_use=False),
                ),
                seed,
            )
        finally:
            drop_database(stack.postgres_url, name)
