"""What was not as it was around two counts: another PostgreSQL, other rows, other values, samples instead of all."""

from __future__ import annotations

import re

from archzero_lab.jobs.work.counted import Counted, CountedKind
from archzero_lab.postgres.whole_statistics import MOST_ROWS

BOOKKEEPING = frozenset({
    "_yoyo_log", "_yoyo_migration", "_yoyo_version", "yoyo_lock", "alembic_version", "django_migrations",
    "schema_migrations", "ar_internal_metadata", "flyway_schema_history", "knex_migrations", "_prisma_migrations",
})  # fmt: skip
"""Tables in which tools note the migrations that they made: no request reads them, and each migration adds a row."""
_TABLE = re.compile(r" on ([^\s:(]+)")
_INDEX_ONLY = re.compile(r"Index Only Scan using .+? on ([^\s:(]+)")


def tables_read(kind: CountedKind, *, index_only: bool = False) -> set[str]:
    """The tables that the plans of a kind of request name, by their bare names."""
    shapes = {shape for one in kind.first.statements.values() for shape in one.plans}
    return {name for shape in shapes for name in (_INDEX_ONLY if index_only else _TABLE).findall(shape)}


def moved_tables(before: Counted, after: Counted) -> set[str]:
    """The tables that had another number of rows, by their bare names."""
    return {table.rpartition(".")[2] for table in _other_rows(before, after)}


def _other_rows(before: Counted, after: Counted) -> list[str]:
    return [
        table for table, rows in before.tables.items()
        if after.tables.get(table, 0) != rows and table.rpartition(".")[2] not in BOOKKEEPING
    ]  # fmt: skip


def other_values(kind: CountedKind, other: CountedKind) -> bool:
    """Whether a kind was asked with other values."""
    return bool(kind.drawn and other.drawn) and kind.drawn != other.drawn


def conditions(before: Counted, after: Counted) -> list[str]:
    """What is not as it was around the requests, in a line each."""
    notes = []
    if before.postgres != after.postgres:
        notes.append(
            f"counted on PostgreSQL {before.postgres}, now {after.postgres}: statements, plans, Redis and bytes are"
            " held against each other, blocks and what was written are not"
        )
    large = [table for table, rows in after.tables.items() if rows > MOST_ROWS]
    if large:
        notes.append(
            f"{', '.join(large)}: more than {MOST_ROWS / 1e6:.0f} million rows, whose statistics are a sample's: a plan"
            " may turn by chance"
        )
    for table in _other_rows(before, after):
        rows, now = before.tables[table], after.tables.get(table, 0)
        notes.append(f"table {table} had {rows:,} rows and has {now:,}: what reads it follows")
    for name, kind in before.kinds.items():
        other = after.kinds.get(name)
        if other is not None and other_values(kind, other):
            notes.append(f"{name}: its requests are not those that were counted: its values are drawn from other rows")
    return notes
