"""What verify-faults does to the card service: cards that it writes, pages that others read, what is dear of it."""

from __future__ import annotations

import json
import random
import urllib.parse
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, LiteralString

from archzero_lab.postgres.connection import connect
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import PoolSettings, patient
from archzero_lab.systems.arczero.consistency import unguarded_server
from archzero_lab.systems.arczero.portfolios import choose_portfolio, ensure_base, make_arms
from archzero_lab.systems.arczero.services import RunningService, Serving, start_service, url_of_service
from archzero_lab.systems.endured import Wanted

_CARDS = 3_000
_ITEMS = 24
_POOL = "pool-limits"
"""A client's share, and PostgreSQL's time limits: each alone keeps one client from stopping others."""
_SERVER = "archzero_lab.systems.arczero.consistency.unguarded_server"


class EnduredCards:
    """Implements systems.endured.Endured."""

    versions: LiteralString = (
        "SELECT '/api/v1/cards/' || id, version FROM cards WHERE '/api/v1/cards/' || id = ANY(%s::text[])"
    )
    lock: LiteralString = "SELECT FROM cards WHERE id = (SELECT max(id::text)::uuid FROM cards) FOR UPDATE"
    enlarge: LiteralString = (
        "SET LOCAL session_replication_role = replica;"
        " UPDATE cards SET description = repeat('long text ', 6000000), attributes = jsonb_build_object('all',"
        " (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 300000) g)),"
        " created_at = now() + interval '1 day'"
        " WHERE id = (SELECT max(id::text)::uuid FROM cards)"
    )
    shrink: LiteralString = (
        "SET LOCAL session_replication_role = replica; UPDATE cards SET description = 'small', attributes = '{}',"
        " created_at = now()"
        " WHERE id = (SELECT max(id::text)::uuid FROM cards)"
    )

    def __init__(self, service: RunningService, database_url: str) -> None:
        self.url = service.url
        self.pid = service.record.pid
        self.database_url = database_url
        with connect(database_url) as connection:
            ids = connection.execute("SELECT id FROM cards ORDER BY id::text LIMIT %s", [_ITEMS]).fetchall()
            hub = connection.execute(
                "SELECT target_card_id FROM relationships GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
            ).fetchone()
            last = connection.execute("SELECT max(id::text) FROM cards").fetchone()
        self.bystander = f"/api/v1/cards/{last[0] if last else ''}"
        self.items: Sequence[str] = [f"/api/v1/cards/{row[0]}" for row in ids]
        self.pages: Sequence[str] = [
            "/api/v1/health", "/api/v1/cards", "/api/v1/cards?page=2", "/api/v1/cards?type=Application",
            "/api/v1/search?q=platform", *self.items[:4],
        ]  # fmt: skip
        self._hub = str(hub[0]) if hub else str(ids[0][0])

    def change(self, number: int) -> dict[str, Any]:
        """A text and a score, so that pages and searches change too."""
        return {"description": f"changed {number} times", "qualityScore": number % 101}

    def new(self, name: str) -> tuple[str, dict[str, Any], LiteralString]:
        """A card."""
        return "/api/v1/cards", {"name": name, "type": "Risk"}, "SELECT name FROM cards WHERE name LIKE %s"

    def dear(self, rng: random.Random) -> str:
        """Thousands of tags, a search of two letters that no card has, a page far away, the graph around a hub."""
        return rng.choice([
            "/api/v1/cards?tags=" + ",".join(f"t{rng.randint(0, 10**6)}" for _ in range(6_000)),
            f"/api/v1/cards?page={rng.randint(1, 10**6)}&pageSize=100",
            f"/api/v1/graph?center_card_id={self._hub}&depth=5&min_confidence={rng.random() * 0.01:.9f}",
            "/api/v1/search?" + urllib.parse.urlencode({"q": "".join(rng.choices("qxzj", k=2)), "pageSize": 100}),
            "/api/v1/cards?attributes=" + urllib.parse.quote(json.dumps({f"k{rng.randint(0, 9999)}": 1})),
        ])  # fmt: skip

    def large(self) -> tuple[str, str, bytes]:
        """An import of some 40 MB whose last line is wrong: all of it is read, and nothing stays."""
        row = json.dumps({"name": "", "type": "Risk", "description": "word " * 800})
        rows = [row.replace('"name": ""', f'"name": "{uuid.uuid4()}"', 1) for _ in range(9_000)]
        return "/api/v1/import", "application/x-ndjson", "\n".join([*rows, "{"]).encode()


class CardsEndure:
    """Implements systems.endured.Endures."""

    guards: Sequence[str] = (*unguarded_server.OUT, _POOL)

    @contextmanager
    def opened(self, stack: Stack, wanted: Wanted) -> Iterator[EnduredCards]:
        """On phase 5's indexes, with the cache in Redis; none in the process, which may lag by milliseconds."""
        base = ensure_base(stack, choose_portfolio(_CARDS, 1, None, None), lambda share: None)
        url = make_arms(stack, base, "faults", lambda name, done, total: None)["treatment"]
        limits = patient(PoolSettings()) if _POOL in wanted.without else PoolSettings()
        settings = replace(stack.settings, pool=limits, cache=replace(stack.settings.cache, near_bytes=0))
        environment = dict(wanted.environment or {})
        if wanted.without:
            environment[unguarded_server.WITHOUT] = ",".join(wanted.without)
        serving = Serving(
            "faults", url_of_service(stack, url), cached=True, workers=wanted.workers, environment=environment
        )
        if wanted.without:
            serving = replace(serving, server=_SERVER)
        service = start_service(replace(stack, settings=settings), serving)
        try:
            yield EnduredCards(service, url)
        finally:
            stack.registry.stop(service.record)
