"""A copy of some rows of a database: a random sample of each table, and every row that a foreign key of it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.postgres.foreign_copy import Copy, dump_sections, stop_autovacuum

_STATEMENT_TIMEOUT = "10min"
_KEYS = 5_000
"""Keys of parents asked for at a time."""


@dataclass(frozen=True)
class _Table:
    """A table that holds rows itself; `columns` are those that can be written, in order."""

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]
    pages: int
    rows: float

    @property
    def place(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def listed(self) -> sql.Composed:
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))


@dataclass(frozen=True)
class _ForeignKey:
    """From columns of a child to those of a parent, with the types of the latter."""

    child: int
    parent: int
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    types: tuple[str, ...]


def copy_sample(source_url: str, server_url: str, name: str, programs: Path, rows: int, seed: int = 1) -> Copy:
    """Copy the schema and about `rows` rows of each table, with the parents of those, into a new database.

    All rows are of one REPEATABLE READ snapshot, read only; the schema is read before. Blocks are drawn at random
    (TABLESAMPLE SYSTEM, repeatable by the seed); a table with fewer rows comes whole. Parents are added until no
    foreign key misses one, and the keys are made after that, by which PostgreSQL checks every row. Statistics are of
    the sample; `foreign_copy.statistics_of` gives it the source's. Raises DatabaseError.
    """
    with dump_sections(source_url, server_url, name, programs) as (url, finish):
        try:
            with _reading(source_url) as source, connect(url, autocommit=True) as copy:
                tables = {table.oid: table for table in _tables(source) if _is_there(copy, table)}
                for table in tables.values():
                    _take(source, copy, table, _sample(table, rows, seed))
                keys = [key for key in _foreign_keys(source) if key.child in tables]
                _add_parents(source, copy, tables, keys)
        except psycopg.Error as error:
            raise DatabaseError(f"copying a sample: {error.diag.message_primary or error}") from None
        left_out = finish()
        with connect(url, autocommit=True) as copy:
            copy.execute("VACUUM ANALYZE")
            stop_autovacuum(copy)
    return Copy(url, left_out)


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    with connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute("SELECT set_config('statement_timeout', %s, true)", [_STATEMENT_TIMEOUT])
        connection.execute("SET LOCAL lock_timeout = '5s'")
        yield connection
        connection.rollback()


def _tables(source: Connection) -> list[_Table]:
    tables = source.execute(
        "SELECT c.oid, n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum), c.relpages, c.reltuples"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
        " WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema'"
        " AND n.nspname NOT LIKE 'pg\\_%' AND NOT EXISTS"
        " (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') GROUP BY c.oid, n.nspname ORDER BY c.oid"
    ).fetchall()
    return [
        _Table(oid, schema, name, tuple(columns), pages, float(rows))
        for oid, schema, name, columns, pages, rows in tables
    ]


def _is_there(copy: Connection, table: _Table) -> bool:
    """Whether the copy has the table; it may be one of those left out."""
    row = copy.execute("SELECT to_regclass(%s) IS NOT NULL", [table.place.as_string()]).fetchone()
    return row == (True,)


def _foreign_keys(source: Connection) -> list[_ForeignKey]:
    """Of every table that holds rows; those to a partitioned table name its root."""
    rows = source.execute(
        "SELECT k.conrelid, k.confrelid,"
        " (SELECT array_agg(a.attname::text ORDER BY u.at) FROM unnest(k.conkey) WITH ORDINALITY u(n, at)"
        "  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n),"
        " (SELECT array_agg(a.attname::text ORDER BY u.at) FROM unnest(k.confkey) WITH ORDINALITY u(n, at)"
        "  JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n),"
        " (SELECT array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY u.at)"
        "  FROM unnest(k.confkey) WITH ORDINALITY u(n, at)"
        "  JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n)"
        " FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype = 'f' AND c.relkind = 'r'"
    ).fetchall()
    return [_ForeignKey(child, parent, tuple(a), tuple(b), tuple(types)) for child, parent, a, b, types in rows]


def _sample(table: _Table, rows: int, seed: int) -> sql.Composed:
    """The rows to take: all of a table that has not many more, else whole blocks of it at random."""
    if table.rows <= 1.2 * rows:
        return sql.SQL("SELECT {} FROM ONLY {} LIMIT {}").format(table.listed, table.place, sql.Literal(2 * rows))
    share = min(100.0, 100.0 * 1.3 * rows / table.rows + 100.0 / max(table.pages, 1))
    return sql.SQL("SELECT {} FROM ONLY {} TABLESAMPLE SYSTEM ({}) REPEATABLE ({}) LIMIT {}").format(
        table.listed, table.place, sql.Literal(share), sql.Literal(seed), sql.Literal(rows)
    )


def _take(source: Connection, copy: Connection, table: _Table, query: sql.Composable) -> None:
    """Hand rows on, as COPY has them; triggers of the copy keep still."""
    copy.execute("SET session_replication_role = replica")
    with (
        source.cursor() as reading, copy.cursor() as writing,
        reading.copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as taken,
        writing.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table.place, table.listed)) as given,
    ):  # fmt: skip
        for block in taken:
            given.write(block)


def _add_parents(source: Connection, copy: Connection, tables: dict[int, _Table], keys: list[_ForeignKey]) -> None:
    """Fetch missing parents, and theirs, until none is missing: also in cycles, as each row comes once."""
    wanted: dict[_ForeignKey, set[tuple[str, ...]]] = {key: set() for key in keys}
    while sum([_parents_of(source, copy, tables, key, wanted[key]) for key in keys]):
        pass


def _parents_of(
    source: Connection, copy: Connection, tables: dict[int, _Table], key: _ForeignKey, asked_for: set[tuple[str, ...]]
) -> int:
    """How many parents one foreign key was missing that were not asked for yet; they are there now.

    One that the source has not either (its key is NOT VALID) is asked for once.
    """
    child = tables[key.child]
    parent = tables.get(key.parent) or _partitioned(source, key.parent)
    child_columns = [sql.SQL("c.{}").format(sql.Identifier(column)) for column in key.columns]
    equal = sql.SQL(" AND ").join(
        sql.SQL("p.{} = c.{}").format(sql.Identifier(b), sql.Identifier(a))
        for a, b in zip(key.columns, key.parent_columns, strict=True)
    )
    missing = copy.execute(
        sql.SQL("SELECT DISTINCT {} FROM ONLY {} c WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {})").format(
            sql.SQL(", ").join(sql.SQL("{}::text").format(column) for column in child_columns),
            child.place,
            sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(column) for column in child_columns),
            parent.place,
            equal,
        )
    ).fetchall()
    missing = [row for row in missing if row not in asked_for]
    asked_for.update(missing)
    for first in range(0, len(missing), _KEYS):
        some = missing[first : first + _KEYS]
        columns_sql = sql.SQL(", ").join(
            sql.SQL("unnest({}::text[])::{}").format(sql.Literal([row[at] for row in some]), sql.SQL(kind))
            for at, kind in enumerate(key.types)
        )
        columns = sql.SQL(", ").join(map(sql.Identifier, key.parent_columns))
        query = sql.SQL("SELECT {} FROM {} WHERE ({}) IN (SELECT {})").format(
            parent.listed, parent.place, columns, columns_sql
        )
        _take(source, copy, parent, query)
    return len(missing)


def _partitioned(source: Connection, oid: int) -> _Table:
    row = source.execute(
        "SELECT n.nspname, c.relname, (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a"
        " WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s::oid", [oid]
    ).fetchone()  # fmt: skip
    assert row is not None
    return _Table(oid, row[0], row[1], tuple(row[2]), 0, 0.0)
