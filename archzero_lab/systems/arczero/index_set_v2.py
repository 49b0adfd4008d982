"""Index set v2 beside phase 5's in a report: its size with the tables it brings, and which of its indexes are read."""

from __future__ import annotations

import json
import uuid
from typing import Any

from archzero_lab.errors import MeasurementError
from archzero_lab.experiments.claim_result import Beside
from archzero_lab.experiments.claims import Claim
from archzero_lab.postgres.migrations import connect
from archzero_lab.systems.arczero.cards.catalog import Catalog
from archzero_lab.systems.arczero.traffic import slot_operations
from archzero_lab.systems.checks import call

ARM = "v2"
_TABLES = ["card_vocabulary", "card_counts", "card_changes"]
_CARDS, _DISTINCT = 5, 12
_IMPORTED = 1_200  # more than the thousand changes after which the vocabulary is brought up to date


def use_every_way(url: str, catalog: Catalog, seed: int) -> None:
    """Ask a service for everything that it answers, and import some cards: an index unread then serves nothing.

    After all that is measured: the cards stay. Raises MeasurementError for a wrong answer.
    """
    paths = [
        operation.path
        for kind in ("list", "detail", "search", "filter")
        for operation in slot_operations(kind, catalog, distinct=_DISTINCT, requests=1, seed=seed, block=0).warm_up
    ]
    for card_id in catalog.ids[:_CARDS]:
        paths += [f"/api/v1/relationships?card_id={card_id}", f"/api/v1/graph?center_card_id={card_id}&depth=2"]
    paths.append("/api/v1/search?q=qx")  # what no card or hardly one has is found by the words
    for path in paths:
        status, _ = call(url, "GET", path)
        if status != 200:
            raise MeasurementError(f"GET {url}{path} answered {status}; see .lab/logs")
    rows = [{"name": f"Imported {uuid.uuid4()}", "type": "Risk"} for _ in range(_IMPORTED)]
    status, _ = call(url, "POST", "/api/v1/import", "\n".join(json.dumps(row) for row in rows))
    if not 200 <= status < 300:
        raise MeasurementError(f"POST {url}/api/v1/import answered {status}; see .lab/logs")


def table_bytes(database_url: str) -> int:
    """What the tables weigh that the set brings; they are there for reading alone, so they count as indexes do."""
    with connect(database_url) as connection:
        row = connection.execute(
            "SELECT coalesce(sum(pg_table_size(to_regclass(name))), 0) FROM unnest(%s::text[]) name", [_TABLES]
        ).fetchone()
    return int(row[0]) if row else 0


def size_beside(claim: Claim, indexes: dict[str, list[dict[str, Any]]], tables: int) -> Beside | None:
    """MB that v2 adds to no index at all, its tables included; None where it was not there."""
    if claim.beside not in indexes:
        return None
    sizes = {arm: sum(int(index["bytes"]) for index in rows) for arm, rows in indexes.items()}
    added = (sizes[claim.beside] + tables - sizes[claim.control]) / 1e6
    return Beside(claim.beside, added, added / ((sizes[claim.treatment] - sizes[claim.control]) / 1e6), None, None)


def unread_beside(claim: Claim, indexes: dict[str, list[dict[str, Any]]]) -> Beside | None:
    """How many of v2's indexes nothing read; None where it was not there."""
    if claim.beside not in indexes:
        return None
    there = {index["name"] for index in indexes[claim.control]}
    added = [index for index in indexes[claim.beside] if index["name"] not in there and not index["constraint"]]
    return Beside(claim.beside, sum(1 for index in added if not index["scans"]), None, None, None)
