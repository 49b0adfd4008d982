"""What a partial index saves: each made anew beside one over the whole table, in a transaction that is rolled back."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from archzero_lab.postgres.connection import Connection, connect


@dataclass(frozen=True)
class PartialIndex:
    """Bytes of a partial index and of the same one over every row, and how many rows its predicate leaves out."""

    name: str
    bytes: int
    whole_bytes: int
    rows_left_out: int


def partial_indexes(database_url: str) -> list[PartialIndex]:
    """Every partial index of a database that is ours, measured; no constraint's."""
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT c.relname, n.nspname, t.relname, pg_get_indexdef(c.oid), pg_get_expr(i.indpred, i.indrelid)"
            " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE i.indpred IS NOT NULL AND n.nspname NOT LIKE 'pg\\_%' AND NOT i.indisunique ORDER BY 1"
        ).fetchall()
        indexes = []
        for name, schema, table, definition, predicate in rows:
            whole = definition.removesuffix(f" WHERE {predicate}")
            sizes = [_size(connection, made, name, schema) for made in (definition, whole)]
            left_out = connection.execute(
                sql.SQL("SELECT count(*) FROM {} WHERE NOT ({})").format(
                    sql.Identifier(schema, table), sql.SQL(predicate)
                )
            ).fetchone()
            indexes.append(PartialIndex(name, sizes[0], sizes[1], int(left_out[0]) if left_out else 0))
        return indexes


def _size(connection: Connection, definition: str, name: str, schema: str) -> int:
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(schema, name)))
        connection.execute(sql.SQL(definition))
        row = connection.execute("SELECT pg_relation_size(%s::regclass)", [f'"{schema}"."{name}"']).fetchone()
    return int(row[0]) if row else 0
