"""Tables without rows that the planner takes for full: restored statistics, files as long as the source's and empty.

A table's file of zero bytes takes no room on the disk (sparse), and PostgreSQL reads its pages as new ones. So a server
of ours plans as the source does, and can run nothing: EXPLAIN only, autovacuum off, the database dropped afterwards.
"""

from __future__ import annotations

import os
from pathlib import Path

from psycopg import sql

from archzero_lab.postgres.connection import Connection

BLOCK = 8192
_SEGMENT = 131_072
"""Blocks of one file; a longer relation has several."""

_RELATIONS = """
SELECT n.nspname, c.relname, c.relkind, c.relpages, pg_relation_filepath(c.oid), current_setting('data_directory')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'i') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
_NEW_INDEX = """
SELECT greatest(ceil(t.reltuples * (coalesce(w.width, 16) + 16) / (8192 * 0.9)), 1)::bigint
FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
CROSS JOIN LATERAL (SELECT sum((s.avg_width + 7) / 8 * 8) AS width FROM pg_stats s JOIN pg_attribute a
    ON a.attname = s.attname AND a.attrelid = t.oid AND a.attnum = ANY(i.indkey)
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE s.schemaname = n.nspname AND s.tablename = t.relname) w
WHERE i.indexrelid = $1::oid
"""


def make_sparse(connection: Connection) -> int:
    """Make every relation's file as long as its statistics say; how many were. Autovacuum is off for the tables.

    Only on a server of ours, whose files we may write. A connection that looked at a table before keeps its old size.
    """
    relations = connection.execute(_RELATIONS).fetchall()
    connection.execute("CHECKPOINT")
    grown = 0
    for schema, name, kind, pages, path, data in relations:
        if kind == "r":
            # without it CREATE INDEX would count the rows that are not there, and autovacuum read empty pages
            connection.execute(
                sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = false)").format(sql.Identifier(schema, name))
            )
        grown += _extend(Path(data) / path, pages)
    return grown


def make_index_sparse(connection: Connection, oid: int) -> None:
    """Give an index that was built on no row about the size that it would have with all rows in it.

    A partial one has fewer: the planner then finds it dearer than it will be.
    """
    row = connection.execute(_NEW_INDEX, [oid]).fetchone()
    where = connection.execute(
        "SELECT current_setting('data_directory'), pg_relation_filepath($1::oid)", [oid]
    ).fetchone()
    if row is not None and where is not None:
        connection.execute("CHECKPOINT")
        _extend(Path(where[0]) / where[1], int(row[0]))


def _extend(file: Path, pages: int) -> int:
    """Grow a relation's files to so many pages; 1 where it had fewer."""
    have = file.stat().st_size // BLOCK if file.exists() else 0
    if not file.exists() or pages <= have:
        return 0
    owner = file.stat()
    for number in range((pages + _SEGMENT - 1) // _SEGMENT):
        segment = file if number == 0 else file.with_name(f"{file.name}.{number}")
        size = min(pages - number * _SEGMENT, _SEGMENT) * BLOCK
        # the folder is the server's own: a link that lies there is not followed
        descriptor = os.open(segment, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(descriptor, size)
            if number and os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)
    return 1
