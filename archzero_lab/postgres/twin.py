"""Whether a copy is its source's twin: what decides a plan, held against each other, source and copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.locales import read_locale
from archzero_lab.postgres.planner_settings import read_settings
from archzero_lab.postgres.restoring import LeftOut

_ALIKE = 0.1
_SIZES = """
SELECT c.oid::regclass::text, pg_relation_size(c.oid), pg_indexes_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_MEASURED_ALIKE = ("jit", "max_parallel_workers_per_gather")
"""Fixed on the copy while it is measured (session.SETTINGS), so that plans differ by their indexes alone."""


@dataclass(frozen=True)
class TwinRow:
    """One thing of source and copy, in words."""

    what: str
    source: str
    copy: str
    same: bool


@dataclass(frozen=True)
class Twin:
    """Source and copy beside each other, a row a thing, and what the copy has not.

    `settings`: those rows that are a setting of the planner which the copy could not be given.
    """

    rows: tuple[TwinRow, ...]
    left_out: tuple[LeftOut, ...]
    version: tuple[int, int]
    collation: tuple[str, str]
    settings: tuple[TwinRow, ...] = ()

    @property
    def differs(self) -> list[TwinRow]:
        """The rows that are not the same."""
        return [row for row in self.rows if not row.same]


def compare_twins(source: Connection, copy: Connection, left_out: Sequence[LeftOut], rows: str) -> Twin:
    """Read both; `rows` says in words which of the source's rows the copy has ("" for all). Both only read."""
    theirs, ours = (one.info.server_version // 10_000 for one in (source, copy))
    locales = tuple(str(read_locale(one)) for one in (source, copy))
    whole, *settings = _settings(source, copy)
    rows_beside = [
        TwinRow("PostgreSQL", _version(source), _version(copy), theirs == ours),
        TwinRow("order of texts", locales[0], locales[1], locales[0] == locales[1]),
        TwinRow("rows", "all", rows or "all", not rows),
        whole,
        *settings,
        *_extensions(source, copy),
        *_sizes(source, copy),
    ]
    return Twin(tuple(rows_beside), tuple(left_out), (theirs, ours), (locales[0], locales[1]), tuple(settings))


def _version(connection: Connection) -> str:
    number = connection.info.server_version
    return f"{number // 10_000}.{number % 10_000}"


def _settings(source: Connection, copy: Connection) -> list[TwinRow]:
    theirs, ours = read_settings(source), read_settings(copy)
    shared = [name for name in theirs if name in ours and name not in _MEASURED_ALIKE]
    other = [name for name in shared if theirs[name] != ours[name]]
    rows = [TwinRow(name, theirs[name], ours[name], False) for name in other]
    same = len(shared) - len(other)
    return [TwinRow("settings of the planner", f"{same}", f"{same} the same", True), *rows]


def _extensions(source: Connection, copy: Connection) -> list[TwinRow]:
    query = "SELECT extname, extversion FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
    theirs: dict[str, str] = dict(source.execute(query).fetchall())
    ours: dict[str, str] = dict(copy.execute(query).fetchall())
    return [
        TwinRow(f"extension {name}", version, ours.get(name, "not there"), ours.get(name) == version)
        for name, version in theirs.items()
    ]


def _sizes(source: Connection, copy: Connection) -> list[TwinRow]:
    theirs = {name: (table, indexes) for name, table, indexes in source.execute(_SIZES).fetchall()}
    ours = {name: (table, indexes) for name, table, indexes in copy.execute(_SIZES).fetchall()}
    lines = []
    for at, what in enumerate(("tables", "indexes")):
        one, other = (sum(sizes[at] for sizes in side.values()) for side in (theirs, ours))
        lines.append(TwinRow(f"{what} on disk", _mb(one), _mb(other), _alike(one, other)))
    # a bloated table is read block by block: the planner finds it dearer than its fresh copy
    apart = sorted(
        (name for name in theirs if name in ours and not _alike(theirs[name][0], ours[name][0])),
        key=lambda name: -abs(theirs[name][0] - ours[name][0]),
    )
    lines += [TwinRow(f"table {name}", _mb(theirs[name][0]), _mb(ours[name][0]), False) for name in apart[:5]]
    return lines


def _alike(one: int, other: int) -> bool:
    return abs(one - other) <= max(_ALIKE * max(one, other), 64 * 8192)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
