"""Cards under index set v2, by plain SQL: one inserted, and how many of each kind are counted and kept."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg


def insert(connection: psycopg.Connection[Any], name: str, description: str, **fields: str) -> uuid.UUID:
    """A new card's id."""
    row = connection.execute(
        "INSERT INTO cards (name, type, lifecycle_phase, quality_score, description) VALUES (%s, %s, %s, 50, %s)"
        " RETURNING id",
        [name, fields.get("type", "Risk"), fields.get("phase", "Active"), description],
    ).fetchone()
    assert row is not None
    found: uuid.UUID = row[0]
    return found


def kinds(connection: psycopg.Connection[Any]) -> tuple[list[Any], list[Any]]:
    """How many cards of each kind there are, counted and kept."""
    counted = connection.execute(
        "SELECT type, lifecycle_phase, status, count(*) FROM cards GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    kept = connection.execute(
        "SELECT type, lifecycle_phase, status, sum(n)::bigint FROM (SELECT type, lifecycle_phase, status, cards AS n"
        " FROM card_counts UNION ALL SELECT type, lifecycle_phase, status, added FROM card_changes) k GROUP BY 1, 2, 3"
        " HAVING sum(n) <> 0 ORDER BY 1, 2, 3"
    )
    return counted.fetchall(), kept.fetchall()
