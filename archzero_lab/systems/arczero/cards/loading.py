"""Load a portfolio through COPY: rows into bare tables first, keys and checks after, statistics last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import psycopg

from archzero_lab.errors import DatabaseError
from archzero_lab.settings import RESOURCES

CARD_COPY = (
    "COPY cards (id, name, type, lifecycle_phase, quality_score, description, owner_id, created_at, updated_at,"
    " attributes, tags, status) FROM STDIN"
)
RELATIONSHIP_COPY = (
    "COPY relationships (id, source_card_id, target_card_id, relationship_type, valid_from, valid_to, attributes,"
    " confidence, created_at) FROM STDIN"
)


class Portfolio(Protocol):
    """Where rows come from: a generator or a real inventory."""

    @property
    def cards(self) -> int:
        """How many cards."""

    @property
    def in_words(self) -> str:
        """How many cards, and whose."""

    @property
    def label(self) -> str:
        """What it is; equal labels hold equal rows."""

    def card_chunks(self) -> Iterator[bytes]:
        """Lines of CARD_COPY."""

    def relationship_chunks(self) -> Iterator[bytes]:
        """Lines of RELATIONSHIP_COPY."""


def load_portfolio(
    connection: psycopg.Connection[tuple[object, ...]],
    portfolio: Portfolio,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[int, int]:
    """Create the tables in an empty database and load the portfolio in one transaction.

    Returns the numbers of cards and relationships. `progress` gets the share done, 0 to 1. Raises
    DatabaseError where the rows break a constraint; the database is as empty as before then.
    """
    sql = RESOURCES / "sql"
    try:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(_script(sql / "schema.sql"))
            done = 0
            with cursor.copy(CARD_COPY) as copy:
                for chunk in portfolio.card_chunks():
                    copy.write(chunk)
                    done += chunk.count(b"\n")
                    progress(0.5 * done / portfolio.cards)
            cards = cursor.rowcount
            with cursor.copy(RELATIONSHIP_COPY) as copy:
                for chunk in portfolio.relationship_chunks():
                    copy.write(chunk)
                    done += chunk.count(b"\n")
                    progress(min(0.9, 0.5 * done / portfolio.cards))
            relationships = cursor.rowcount
            cursor.execute(_script(sql / "constraints.sql"))
            # last: a load is no change that a cache must hear of
            cursor.execute(_script(sql / "outbox.sql"))
    except psycopg.errors.UniqueViolation as error:
        raise DatabaseError(f"the inventory repeats a key: {error.diag.message_detail}; each card once") from None
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise DatabaseError(f"the database does not take the inventory: {error.diag.message_primary}") from None
    connection.autocommit = True
    connection.execute("VACUUM ANALYZE")
    progress(1.0)
    return cards, relationships


def renew_outbox(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Give a database that an older version made this version's outbox; whoever drains it forgets everything once."""
    connection.autocommit = True
    named = "SELECT FROM information_schema.columns WHERE table_name = 'cache_outbox' AND column_name = 'names'"
    if connection.execute(named.encode()).fetchone() is not None:
        return
    with connection.transaction():
        connection.execute("DROP TABLE IF EXISTS cache_outbox")
        connection.execute(
            "DROP FUNCTION IF EXISTS cache_outbox_add(uuid[], text[]), cards_changed(), relationships_changed(),"
            " everything_changed() CASCADE"
        )
        connection.execute(_script(RESOURCES / "sql" / "outbox.sql"))
        connection.execute(
            "INSERT INTO cache_outbox (card_ids, kinds) VALUES (NULL, '{list,search,graph,relationships}')"
        )


def _script(path: Path) -> bytes:
    return path.read_bytes()
