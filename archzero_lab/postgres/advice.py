"""What to do about a database's indexes, tables and statements: marks on what the analysis queries found."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archzero_lab.postgres.index_catalog import Index, redundant
from archzero_lab.postgres.insights import AnalysisTable

_SLOW_SHARE = 10.0
"""Per cent of all statements' time from which a statement is named."""
_WASTE, _TWICE = 10_000_000, 2.0
"""A B-tree is bloated where it has twice the bytes that its rows need and 10 MB of them in vain."""
_EMPTY = 8192


@dataclass(frozen=True)
class Advice:
    """One mark: what it is about, what is seen, and what would be done about it."""

    mark: str
    about: str
    seen: str
    do: str


def advise(
    tables: Sequence[AnalysisTable], indexes: Sequence[Index], needed: Mapping[int, Sequence[str]], since: str
) -> list[Advice]:
    """Everything worth doing, the surest first, from `insights.analyze` and `index_catalog.list_indexes`.

    `needed`: what indexes are for beside queries (`index_purposes`); `since`: when the statistics began. Whatever is
    named to be dropped may go together.
    """
    usable = [index for index in indexes if index.valid]
    twice = {oid: other for oid, other in redundant(usable).items() if oid not in needed}
    keeping = {*needed, *twice, *(other.oid for other in twice.values())}
    of_part = {part.oid: index.oid for index in usable for part in index.parts}
    rows = {table.name: [dict(zip(table.columns, row, strict=True)) for row in table.rows] for table in tables}
    return [
        *_invalid(rows["index_use"]),
        *_duplicate(usable, twice),
        *_unused(_as_one(rows["index_use"], of_part, usable), keeping, since),
        *_foreign_keys(rows["foreign_keys_without_index"]),
        *_never_analyzed(rows["table_sizes"]),
        *_bloated(rows["bloated_indexes"]),
        *_slowest(rows["slowest_statements"]),
    ]


Row = dict[str, Any]


def _invalid(rows: Sequence[Row]) -> Iterator[Advice]:
    for row in rows:
        if not row["valid"]:
            place = _place(row["schema"], row["index"])
            yield Advice("invalid", place, f"a build on {row['table']} failed",
                         f"DROP INDEX CONCURRENTLY {place} and build it anew")  # fmt: skip


def _duplicate(indexes: Sequence[Index], twice: Mapping[int, Index]) -> Iterator[Advice]:
    by_oid = {index.oid: index for index in indexes}
    for oid, other in twice.items():
        place = _place(by_oid[oid].schema, by_oid[oid].name)
        yield Advice("duplicate", place, f"{other.label} serves whatever it does; {_mb(by_oid[oid].bytes)}",
                     _drop(by_oid[oid]))  # fmt: skip


def _drop(index: Index) -> str:
    """The statement that drops it; the index of a partitioned table goes with its partitions', not CONCURRENTLY."""
    return f"DROP INDEX {'' if index.parts else 'CONCURRENTLY '}{_place(index.schema, index.name)}"


def _as_one(rows: Sequence[Row], of_part: Mapping[int, int], indexes: Sequence[Index]) -> list[Row]:
    """The rows with those of a partitioned table's index added up: it is used where one of its partitions is."""
    by_oid = {index.oid: index for index in indexes}
    whole: dict[int, Row] = {}
    advice = []
    for row in rows:
        if (oid := of_part.get(row["oid"])) is None:
            advice.append(row)
            continue
        index = by_oid[oid]
        one = whole.setdefault(oid, dict(row) | {
            "oid": oid, "schema": index.schema, "index": index.name, "table": index.table, "scans": 0, "bytes": 0,
            "constraint": index.constraint,
        })  # fmt: skip
        one["scans"] += row["scans"]
        one["bytes"] += row["bytes"]
    return [*advice, *whole.values()]


def _unused(rows: Sequence[Row], keeping: Collection[int], since: str) -> Iterator[Advice]:
    for row in sorted(rows, key=lambda one: -int(one["bytes"])):
        needed = row["constraint"] or row["unique"] or not row["valid"] or row["oid"] in keeping
        if row["scans"] == 0 and not needed and row["bytes"] > _EMPTY:
            yield Advice("unused", _place(row["schema"], row["index"]),
                         f"not read once since the statistics began, {since}; {_mb(row['bytes'])} on {row['table']}",
                         "drop it where that time holds all there is to do, replicas included")  # fmt: skip


def _foreign_keys(rows: Sequence[Row]) -> Iterator[Advice]:
    for row in rows:
        yield Advice("foreign key", f"{row['table']}.{row['foreign_key']}",
                     "no index: a delete of a parent reads all of it",
                     f"CREATE INDEX CONCURRENTLY ON {row['table']} ({row['columns']})")  # fmt: skip


def _never_analyzed(rows: Sequence[Row]) -> Iterator[Advice]:
    for row in rows:
        if row["last_analyze"] is None and row["live_rows"] > 0:
            place = _place(row["schema"], row["table"])
            yield Advice("never analyzed", place, f"about {row['live_rows']:,} rows, planned by guesses",
                         f"ANALYZE {place}")  # fmt: skip


def _bloated(rows: Sequence[Row]) -> Iterator[Advice]:
    for row in rows:
        has, needs = int(row["bytes"]), int(row["needed_bytes"])
        if has > _TWICE * needs and has - needs > _WASTE:
            place = _place(row["schema"], row["index"])
            yield Advice("bloated", place, f"{_mb(has)} where its rows need about {_mb(needs)}",
                         f"REINDEX INDEX CONCURRENTLY {place}")  # fmt: skip


def _slowest(rows: Sequence[Row]) -> Iterator[Advice]:
    for row in rows:
        if "share_percent" in row and float(row["share_percent"] or 0) >= _SLOW_SHARE:
            yield Advice("slow statement", row["statement"],
                         f"{row['share_percent']} % of all time: {row['calls']:,} calls of {row['mean_ms']} ms",
                         "look at its plan: lab.explain(…)")  # fmt: skip


def _place(schema: Any, name: Any) -> str:
    return str(name) if schema == "public" else f"{schema}.{name}"


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
