"""The plan for any values, on connections as people have them."""

from __future__ import annotations

import psycopg
import pytest

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.generic_plans import explain_generic

TEXT = "SELECT name FROM cards WHERE type = $1 LIMIT $2"


def _prepared(connection: psycopg.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM pg_prepared_statements", prepare=False)]


def test_a_connection_that_prepares_statements_of_its_own_gives_the_plan_every_time(database_url: str) -> None:
    with connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT 1 WHERE 1 = %s", [1], prepare=True)
        assert len(_prepared(connection)) == 1
        plans = {explain_generic(connection, TEXT).root.node_type for _ in range(3)}
        assert plans == {"Limit"}
        assert "archzero_statement" not in _prepared(connection)


def test_a_statement_that_is_not_taken_raises_and_leaves_nothing_behind(database_url: str) -> None:
    with connect(database_url, autocommit=True) as connection:
        for _ in range(2):
            with pytest.raises(psycopg.errors.UndefinedTable):
                explain_generic(connection, "SELECT * FROM nothing_there WHERE a = $1")
        assert _prepared(connection) == []
        assert explain_generic(connection, TEXT).root.node_type == "Limit"
