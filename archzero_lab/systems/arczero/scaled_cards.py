"""What the study of scaling asks of the card service: pages of a type, and edits of a score, over 2,000 cards."""

from __future__ import annotations

from dataclasses import replace

import psycopg

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import database_url
from archzero_lab.servers.postgres_server import PostgresServer
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cards.model import CardFilter, CardType
from archzero_lab.systems.arczero.cards.search import page_statement
from archzero_lab.systems.arczero.portfolios import choose_portfolio, ensure_base
from archzero_lab.systems.scaled import Asked

_CARDS, _EDITED = 2_000, 200


class ScaledCards:
    """Implements systems.scaled.Scaled."""

    def fill(self, stack: Stack, primary: PostgresServer) -> Asked:
        """A generated portfolio without phase 5's indexes: each page reads all cards."""
        there = replace(stack, postgres_url=primary.url, postgres_pid=primary.record.pid)
        base = ensure_base(there, choose_portfolio(_CARDS, 1, None, None), lambda share: None)
        with connect(database_url(primary.url, base.name)) as connection:
            written = psycopg.ClientCursor(connection)
            ids = connection.execute("SELECT id::text FROM cards ORDER BY id LIMIT %s", [_EDITED]).fetchall()
            pages = [written.mogrify(*page_statement(CardFilter(type=kind))) for kind in CardType]
        edit = "UPDATE cards SET quality_score = %s WHERE id = %s::uuid"
        return Asked(
            base.name,
            [(page.replace("%", "%%"), ()) for page in pages],
            [(edit, (number % 100, row[0])) for number, row in enumerate(ids)],
        )
