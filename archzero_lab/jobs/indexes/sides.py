"""The two sides of a comparison, and what decides plans or times that is not the same on both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.postgres.twin import TwinRow, compare_twins

_MOST_NAMED = 4
_FIXED_ELSEWHERE = ("jit", "max_parallel_workers_per_gather")
"""What a comparison of twins leaves out, since an index experiment fixes it on its copy; here it is as it is."""


_KNOWN = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) || '.' || quote_ident(attname)
    || CASE WHEN inherited THEN ' with its children' ELSE '' END,
  md5(concat_ws('|', null_frac, avg_width, n_distinct, most_common_vals, most_common_freqs, histogram_bounds,
    correlation, most_common_elems, most_common_elem_freqs))
FROM pg_stats WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""


@dataclass(frozen=True)
class Side:
    """A database as it is asked: its URL, and settings of the session."""

    url: str
    settings: Mapping[str, str] = field(default_factory=dict)


def differences_of(first: Side, second: Side) -> list[TwinRow]:
    """What decides plans and is not the same on both.

    Version, order of texts, settings, extensions, sizes, who compiled them, statistics. Both only read.
    """
    with connect(first.url, autocommit=True) as one, connect(second.url, autocommit=True) as other:
        for connection, side in ((one, first), (other, second)):
            connection.execute("SET default_transaction_read_only = on")
            for name, value in side.settings.items():
                connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        rows = compare_twins(one, other, (), "").differs
        for name in _FIXED_ELSEWHERE:
            theirs, others = (_setting(connection, name) for connection in (one, other))
            if theirs != others:
                rows.append(TwinRow(name, theirs, others, False))
        return [*rows, *_compiler(one, other), *_statistics(one, other)]


def _compiler(one: Connection, other: Connection) -> list[TwinRow]:
    """Who compiled them, where that is not the same: one version in two packages differed by a fifth in ILIKE."""
    theirs, others = (
        str(row[0]).rpartition("compiled by ")[2].removesuffix(", 64-bit")
        for side in (one, other) if (row := side.execute("SELECT version()").fetchone())
    )  # fmt: skip
    return [] if theirs == others else [TwinRow("compiled by", theirs, others, False)]


def _statistics(one: Connection, other: Connection) -> list[TwinRow]:
    """Columns of which the planner knows other things on the other side, in a row."""
    theirs: dict[str, str] = dict(one.execute(_KNOWN).fetchall())
    others: dict[str, str] = dict(other.execute(_KNOWN).fetchall())
    columns = [column for column in sorted(theirs.keys() | others.keys()) if theirs.get(column) != others.get(column)]
    if not columns:
        return []
    more = f" and {len(columns) - _MOST_NAMED} more" if len(columns) > _MOST_NAMED else ""
    what = "a column" if len(columns) == 1 else f"{len(columns)} columns"
    named = f"{', '.join(columns[:_MOST_NAMED])}{more}"
    return [TwinRow(f"statistics of {what} ({named})", "the first's", "the second's", False)]


def _setting(connection: Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    return str(row[0]) if row else ""
