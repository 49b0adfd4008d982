"""Cards under index set v2, by plain SQL: a database of a file's own, a card inserted, kinds as counted and as kept."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from archzero_lab.postgres.migrations import Migrations


@pytest.fixture(scope="module")
def database_url(make_database: Callable[[str], str], request: pytest.FixtureRequest) -> str:
    """A copy of the portfolio of the file's own, with both index sets."""
    url = make_database(request.module.__name__.rpartition(".")[2].removeprefix("test_"))
    Migrations(url).up()
    return url


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A plain connection to it."""
    with psycopg.connect(database_url, autocommit=True) as made:
        yield made


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
