"""What verify-failover does to the card service: a hot set on a cluster, each write of it in a history beside it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import create_database, database_url
from archzero_lab.servers.failover import FailoverCluster
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import PoolSettings
from archzero_lab.systems.arczero.portfolios import choose_portfolio, ensure_base
from archzero_lab.systems.arczero.service_config import ServiceConfig

_HOT, _READERS, _WRITERS = 8, 6, 3
_HISTORY = """
CREATE TABLE written (card_id uuid NOT NULL, version integer NOT NULL, mark text NOT NULL);
CREATE FUNCTION note_written() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.attributes ? 'mark' THEN INSERT INTO written VALUES (NEW.id, NEW.version, NEW.attributes ->> 'mark'); END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER note_written AFTER UPDATE ON cards FOR EACH ROW EXECUTE FUNCTION note_written();
"""


class HotCluster:
    """Implements systems.failovers.Replicated: a few cards of one owner."""

    def __init__(self, config: ServiceConfig, seed: int, of: str | None) -> None:
        self._config, self._seed, self._of = config, seed, of
        self._database = config.database_url.rpartition("/")[2].partition("?")[0]
        self._owner = str(uuid.uuid4())
        with connect(config.database_url, autocommit=True) as connection:
            rows = connection.execute(
                "UPDATE cards SET owner_id = %s, version = 1 WHERE id IN (SELECT id FROM cards ORDER BY id LIMIT %s)"
                " RETURNING id",
                [self._owner, _HOT],
            ).fetchall()
            connection.execute("DELETE FROM cache_outbox")
        self._hot = [str(row[0]) for row in rows]

    def command(self, job: Path) -> list[str]:
        """The worker's program."""
        return [sys.executable, "-P", "-m", "archzero_lab.systems.arczero.consistency.failover_worker", str(job)]

    def job(self, number: int, without: Collection[str]) -> dict[str, Any]:
        """See failover_worker."""
        return {
            "of": self._of,
            "service": self._config.encode(),
            "without": list(without),
            "hot": self._hot,
            "owner": self._owner,
            "seed": f"{self._seed}.{number}",
            "readers": _READERS,
            "writers": _WRITERS,
        }

    def lineage(self, url: str) -> list[tuple[str, int, str]]:
        """The rows of the history that every update of a hot card added to."""
        with connect(database_url(url, self._database)) as connection:
            rows = connection.execute("SELECT card_id::text, version, mark FROM written").fetchall()
        return [(str(key), int(version), str(mark)) for key, version, mark in rows]


class CardFailovers:
    """Implements systems.failovers.Failovers."""

    guards: Sequence[str] = ("token", "position", "timeline", "leader", "epoch")
    libraries: Sequence[str] = ("every-select", "sticky")

    @contextmanager
    def opened(
        self, stack: Stack, cluster: FailoverCluster, redis_url: str, seed: int, of: str | None
    ) -> Iterator[HotCluster]:
        """A small portfolio on the cluster, which goes with it; the service's cache is on the given Redis."""
        primary = cluster.servers[cluster.primary]
        there = replace(stack, postgres_url=primary.url, postgres_pid=primary.record.pid)
        base = ensure_base(there, choose_portfolio(300, 1, None, None), lambda share: None)
        name = there.database_name("failover")
        create_database(there.postgres_url, name, template=base.name)
        urls = [cluster.url_of(one, name) for one in cluster.servers]
        with connect(cluster.url_of(cluster.primary, name), autocommit=True) as connection:
            connection.execute(_HISTORY)
        config = ServiceConfig(
            database_url=cluster.url_of(cluster.primary, name),
            redis_url=redis_url,
            namespace=f"failover:{seed}",
            replicas=tuple(urls),
            cache=replace(stack.settings.cache, near_bytes=0),
            # who waits for a follower is cut off three seconds after that
            pool=PoolSettings(min_size=2, max_size=8, statement_timeout_s=1.0, lock_timeout_s=0.5),
            replica=stack.settings.replica,
        )
        yield HotCluster(config, seed, of)
