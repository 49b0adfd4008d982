"""The plan of a prepared statement for any values: what PostgreSQL plans where it does not know its parameters."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql
from psycopg.pq import TransactionStatus

from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.plans import Plan, parse_plan


def explain_generic(connection: Connection, text: str, settings: Mapping[str, str] | None = None) -> Plan:
    """The plan that a prepared statement gets without knowing its values ($1, $2, …), under some settings; not run.

    Raises psycopg.Error for a statement that PostgreSQL does not take.
    """
    prepared = False
    try:
        with connection.transaction(force_rollback=True):
            for name, value in ({"plan_cache_mode": "force_generic_plan"} | dict(settings or {})).items():
                connection.execute(sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            connection.execute(("PREPARE archzero_statement AS " + text).encode(), prepare=False)
            prepared = True
            count = connection.execute(
                "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'archzero_statement'"
            ).fetchone()
            nulls = ", ".join(["NULL"] * (count[0] if count else 0))
            row = connection.execute(
                f"EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE archzero_statement{f'({nulls})' if nulls else ''}".encode(),
                prepare=False,
            ).fetchone()
    finally:  # a prepared statement outlives a rollback
        if prepared and not connection.broken and connection.info.transaction_status != TransactionStatus.INERROR:
            _deallocate(connection)
    assert row is not None
    return parse_plan(row[0])


def _deallocate(connection: Connection) -> None:
    """Forget the statement, where psycopg has not: after a rollback it forgets all where it prepared one of its own."""
    there = connection.execute("SELECT FROM pg_prepared_statements WHERE name = 'archzero_statement'", prepare=False)
    if there.fetchone() is not None:
        connection.execute("DEALLOCATE archzero_statement", prepare=False)
