"""What to do about a database's indexes, tables and statements, from what it tells itself; read only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.index_catalog import list_indexes, redundant
from archzero_lab.postgres.migrations import Connection

_SLOW_SHARE = 10.0
"""Per cent of all statements' time from which a statement is named."""
_WASTE, _TWICE = 10_000_000, 2.0
"""A B-tree is bloated where it has twice the pages that its rows need and 10 MB of them in vain."""

_UNUSED: LiteralString = """
SELECT s.schemaname, s.relname, s.indexrelname, pg_relation_size(s.indexrelid),
    (SELECT stats_reset::date::text FROM pg_stat_database WHERE datname = current_database())
FROM pg_stat_user_indexes s JOIN pg_index i USING (indexrelid)
WHERE s.idx_scan = 0 AND i.indisvalid AND NOT i.indisunique
    AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = s.indexrelid)
    AND pg_relation_size(s.indexrelid) > 8192
ORDER BY 4 DESC
"""
_NEVER_ANALYZED: LiteralString = """
SELECT schemaname, relname, n_live_tup FROM pg_stat_user_tables
WHERE last_analyze IS NULL AND last_autoanalyze IS NULL AND n_live_tup > 0 ORDER BY n_live_tup DESC
"""
_FOREIGN_KEYS: LiteralString = """
SELECT n.nspname, t.relname, c.conname,
    (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.at) FROM unnest(c.conkey) WITH ORDINALITY AS k(num, at)
     JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num)
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE c.contype = 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indisvalid
    AND i.indpred IS NULL AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)
ORDER BY pg_relation_size(c.conrelid) DESC
"""
_BLOATED: LiteralString = """
SELECT n.nspname, t.relname, x.relname, x.relpages * 8192::bigint AS has,
    ceil(x.reltuples * (w.width + 16) / (8192 * 0.9))::bigint * 8192 AS needs
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_am am ON am.oid = x.relam AND am.amname = 'btree'
CROSS JOIN LATERAL (
    SELECT sum((s.avg_width + 7) / 8 * 8 * (1 - s.null_frac)) AS width, count(*) AS known FROM pg_stats s
    JOIN pg_attribute a ON a.attname = s.attname AND a.attrelid = t.oid AND a.attnum = ANY(i.indkey)
    WHERE s.schemaname = n.nspname AND s.tablename = t.relname
) w
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND i.indexprs IS NULL
    AND w.known = i.indnatts AND x.reltuples > 0
ORDER BY 4 DESC
"""
_SLOWEST: LiteralString = """
SELECT share, calls, mean, query FROM (
    SELECT 100 * total_exec_time / nullif(sum(total_exec_time) OVER (), 0) AS share, calls, mean_exec_time AS mean,
        left(regexp_replace(query, '\\s+', ' ', 'g'), 90) AS query
    FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
) s WHERE share >= $1 ORDER BY share DESC LIMIT 10
"""


@dataclass(frozen=True)
class Advice:
    """One mark: what it is about, what is seen, and what would be done about it."""

    mark: str
    about: str
    seen: str
    do: str


def advise(connection: Connection) -> list[Advice]:
    """Everything worth doing, the surest first. The connection wants psycopg.RawCursor and autocommit.

    Reads catalog and statistics in read-only transactions that give up after 30 s. Raises DatabaseError.
    """
    found = []
    for part in (_indexes, _unused, _foreign_keys, _never_analyzed, _bloated, _slowest):
        try:
            with connection.transaction():
                connection.execute("SET LOCAL transaction_read_only = on")
                connection.execute("SET LOCAL statement_timeout = '30s'")
                connection.execute("SET LOCAL lock_timeout = '2s'")
                found += list(part(connection))
        except (psycopg.errors.UndefinedTable, psycopg.errors.ObjectNotInPrerequisiteState):
            continue  # without pg_stat_statements: the table of slowest statements says how to get it
        except psycopg.Error as error:
            raise DatabaseError(f"reading the statistics: {error.diag.message_primary or error}") from None
    return found


def _indexes(connection: Connection) -> Iterator[Advice]:
    indexes = list_indexes(connection)
    by_name = {index.name: index for index in indexes}
    for index in indexes:
        if not index.valid:
            yield Advice("invalid", _place(index.schema, index.name), f"a build on {index.qualified_table} failed",
                         f"DROP INDEX CONCURRENTLY {_place(index.schema, index.name)} and build it anew")  # fmt: skip
    for name, other in redundant([index for index in indexes if index.valid]).items():
        index = by_name[name]
        yield Advice("duplicate", _place(index.schema, name), f"{other} serves whatever it does; {_mb(index.bytes)}",
                     f"DROP INDEX CONCURRENTLY {_place(index.schema, name)}")  # fmt: skip


def _unused(connection: Connection) -> Iterator[Advice]:
    for schema, table, name, size, since in connection.execute(_UNUSED).fetchall():
        when = f"since {since}" if since else "since the statistics began"
        yield Advice("unused", _place(schema, name), f"not read once {when}; {_mb(size)} on {table}",
                     "drop it where that time holds all there is to do, replicas included")  # fmt: skip


def _foreign_keys(connection: Connection) -> Iterator[Advice]:
    for schema, table, name, columns in connection.execute(_FOREIGN_KEYS).fetchall():
        yield Advice("foreign key", f"{_place(schema, table)}.{name}", "no index: a delete of a parent reads all of it",
                     f"CREATE INDEX CONCURRENTLY ON {_place(schema, table)} ({columns})")  # fmt: skip


def _never_analyzed(connection: Connection) -> Iterator[Advice]:
    for schema, table, rows in connection.execute(_NEVER_ANALYZED).fetchall():
        yield Advice("never analyzed", _place(schema, table), f"about {rows:,} rows, planned by guesses",
                     f"ANALYZE {_place(schema, table)}")  # fmt: skip


def _bloated(connection: Connection) -> Iterator[Advice]:
    for schema, _, name, has, needs in connection.execute(_BLOATED).fetchall():
        if has > _TWICE * int(needs) and has - int(needs) > _WASTE:
            yield Advice("bloated", _place(schema, name), f"{_mb(has)} where its rows need about {_mb(int(needs))}",
                         f"REINDEX INDEX CONCURRENTLY {_place(schema, name)}")  # fmt: skip


def _slowest(connection: Connection) -> Iterator[Advice]:
    for share, calls, mean, query in connection.execute(_SLOWEST, [_SLOW_SHARE]).fetchall():
        yield Advice("slow statement", str(query), f"{share:.0f} % of all time: {calls:,} calls of {mean:.3g} ms",
                     "look at its plan: lab.explain(…)")  # fmt: skip


def _place(schema: Any, name: Any) -> str:
    return str(name) if schema == "public" else f"{schema}.{name}"


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
