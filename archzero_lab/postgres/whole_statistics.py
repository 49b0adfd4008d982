"""Statistics of all rows instead of a sample, so that two ANALYZEs of the same rows come out the same."""

from __future__ import annotations

from psycopg import sql

from archzero_lab.postgres.connection import Connection

_ROWS_A_TARGET = 300
"""ANALYZE reads 300 times the greatest target of a table's columns (std_typanalyze in PostgreSQL's analyze.c)."""
_MOST = 10_000
MOST_ROWS = _ROWS_A_TARGET * _MOST
"""Of a table with more rows the statistics are a sample's all the same."""


def analyze_whole(connection: Connection) -> dict[str, int]:
    """VACUUM (FREEZE, ANALYZE) every table with all of its rows read, up to 3 million; rows by table.

    The target is raised on one column alone, a table's first that has none of its own: the others' lists keep the
    length that their planner goes by. Of a partitioned table the parent's own are made so, too. Changes the database:
    for copies of our own.
    """
    connection.execute("VACUUM (FREEZE, ANALYZE)")
    rows = connection.execute(
        "SELECT n.nspname, c.relname, CASE c.relkind WHEN 'p' THEN (SELECT coalesce(sum(leaf.reltuples), 0)"
        "   FROM pg_partition_tree(c.oid) t JOIN pg_class leaf ON leaf.oid = t.relid WHERE t.isleaf)"
        " ELSE c.reltuples END::bigint, (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid"
        "   AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
        "   ORDER BY coalesce(a.attstattarget, -1) >= 0, a.attnum LIMIT 1)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence = 'p'"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%%' ORDER BY 1, 2"
    ).fetchall()
    targets: dict[str, int] = {}
    for schema, table, number, column in rows:
        targets[table if schema == "public" else f"{schema}.{table}"] = max(0, int(number))
        wanted = min(_MOST, -(-int(number) // _ROWS_A_TARGET))
        if column is None or wanted <= _target(connection):
            continue
        where = sql.Identifier(schema, table)
        connection.execute(
            sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET STATISTICS {}").format(
                where, sql.Identifier(column), sql.Literal(wanted)
            )
        )
        connection.execute(sql.SQL("ANALYZE {}").format(where))
    return targets


def _target(connection: Connection) -> int:
    row = connection.execute("SELECT current_setting('default_statistics_target')::int").fetchone()
    return int(row[0]) if row else 100


def pages_to_vacuum(connection: Connection) -> dict[str, int]:
    """Pages by table that a VACUUM has not marked since they were written: an index-only scan reads them, too.

    Of tables where they are a twentieth or more. ANALYZEs them to know.
    """
    connection.execute("ANALYZE")
    rows = connection.execute(
        "SELECT c.relname, sum(c.relpages - c.relallvisible)::bigint"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'm') AND (c.relpages - c.relallvisible) * 20 >= greatest(c.relpages, 1)"
        " AND pg_get_userbyid(c.relowner) = current_user"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return dict(rows)
