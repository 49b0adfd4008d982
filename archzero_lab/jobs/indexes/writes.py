"""What indexes cost writes: each one an insert and an update, and all of them together, those to be kept beside."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set

import numpy as np
from psycopg import sql

from archzero_lab.jobs.indexes.findings import WriteRate
from archzero_lab.jobs.indexes.verdict import UpdateCost, WriteCost
from archzero_lab.jobs.indexes.write_slots import Fit, Slot, WriteArm, WriteSlots, keep_all
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.index_catalog import Index
from archzero_lab.stats.comparison import compare
from archzero_lab.stats.estimates import hodges_lehmann


class Writes:
    """The writes of one table of a database of ours, whose indexes are `of_table`, as its superuser."""

    def __init__(
        self, connection: Connection, indexes: Sequence[Index], of_table: Sequence[Index], blocks: int, seed: int
    ) -> None:
        """`indexes` are those to be judged, of which none guards anything; at least one.

        GIN indexes are set to take each row at once (fastupdate off): else a later write or a vacuum would pay.
        """
        self._slots = WriteSlots(connection, indexes[0], seed)
        self._indexes = indexes
        self._of_table = of_table
        self._blocks = blocks
        if not self._slots.rows:
            return
        for index in indexes:
            if index.method == "gin":
                name = sql.Identifier(index.schema, index.name)
                connection.execute(sql.SQL("ALTER INDEX {} SET (fastupdate = off)").format(name))
        self._updated = {}
        for index in indexes:
            alone = hot_lost(index, of_table)  # first those where the index's own part shows
            others = [column for column in index.columns if column not in alone]
            self._updated[index.label] = self._slots.changeable([*alone, *others])

    def costs(self, step: Callable[[], None], fit: Fit = keep_all) -> dict[str, WriteCost]:
        """What each index costs an insert, and an update of a column that it reads, by name; nothing of an empty table.

        All arms of a block write the same rows in random order; inserts of a B-tree's are both without the table's GIN
        indexes. Updates are with all others there: one that is no longer heap-only is paid to every index.
        """
        if not self._slots.rows:
            return {}
        gin = tuple(index for index in self._of_table if index.method == "gin" and not index.guards)
        whole, bare = WriteArm("", ()), WriteArm("no gin", gin)
        inserts, updates = {}, {}
        for index in self._indexes:
            # a trigram index costs hundreds of times what a B-tree does: beside it, nothing of a B-tree's would be seen
            apart = gin if index.method != "gin" else ()
            inserts[index.label] = (bare if apart else whole, WriteArm(index.label, (*apart, index)))
            if column := self._updated[index.label]:
                updates[index.label] = (WriteArm("", (), column), WriteArm(index.label, (index,), column))
        arms = list(dict.fromkeys(arm for pair in (*inserts.values(), *updates.values()) for arm in pair))
        slots = self._slots.run(arms, self._blocks, step, fit)
        costs_by_index = {}
        for index in self._indexes:
            insert = [slots[arm] for arm in inserts[index.label]]
            update = [slots[arm] for arm in updates.get(index.label, ())]
            costs_by_index[index.label] = WriteCost(
                *_added(*insert), hot_lost(index, self._of_table),
                UpdateCost(self._updated[index.label], *_added(*update), *(_median(arm, "hot") for arm in update))
                if update else None,
            )  # fmt: skip
        return costs_by_index

    def rates(self, kept: Set[str], step: Callable[[], None], fit: Fit = keep_all) -> list[WriteRate]:
        """Rows a second of an insert and of each column's update, with all of the indexes, none, and those kept."""
        if not self._slots.rows:
            return []
        without = {
            "all": (),
            "none": tuple(self._indexes),
            "kept": tuple(index for index in self._indexes if index.label not in kept),
        }
        columns = ["", *sorted({column for column in self._updated.values() if column})]
        arms = {(name, column): WriteArm(name, gone, column) for column in columns for name, gone in without.items()}
        slots = self._slots.run(list(arms.values()), self._blocks, step, fit)
        measured_rates = []
        for column in columns:
            mine = {name: slots[arms[name, column]] for name in without}
            ratio = {
                name: compare([slot.ms for slot in mine["all"]], [slot.ms for slot in mine[name]])
                for name in ("none", "kept")
            }
            measured_rates.append(
                WriteRate(
                    table=self._indexes[0].qualified_table, column=column,
                    rows_per_s={name: 1000 / _median(mine[name], "ms") for name in mine},
                    wal_records={name: _median(mine[name], "wal_records") for name in mine},
                    wal_bytes={name: _median(mine[name], "wal_bytes") for name in mine},
                    hot={name: _median(mine[name], "hot") for name in mine},
                    times={
                        # below six blocks an interval is all there is: 0 to infinity
                        name: (1 / one.effect_size, 1 / one.ci_high, 1 / one.ci_low if one.ci_low > 0 else math.inf)
                        for name, one in ratio.items()
                    },
                )
            )  # fmt: skip
        return measured_rates


def hot_lost(index: Index, of_table: Sequence[Index]) -> tuple[str, ...]:
    """Columns whose updates could be heap-only but for this one index: no other of the table's indexes reads them."""
    others = {column for other in of_table if other.oid != index.oid for column in other.columns}
    return tuple(column for column in index.columns if column not in others)


def _added(whole: Sequence[Slot], without: Sequence[Slot]) -> tuple[float, float, float, float, float]:
    """What a row costs more: ms with its interval, WAL records, WAL bytes."""
    ms = hodges_lehmann([a.ms - b.ms for a, b in zip(whole, without, strict=True)])
    records = np.median([a.wal_records - b.wal_records for a, b in zip(whole, without, strict=True)])
    size = np.median([a.wal_bytes - b.wal_bytes for a, b in zip(whole, without, strict=True)])
    return ms.estimate, ms.low, ms.high, float(records), float(size)


def _median(slots: Sequence[Slot], name: str) -> float:
    return float(np.median([getattr(slot, name) for slot in slots]))
