"""What an index costs writes: the same rows inserted with it and with it dropped, each time rolled back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from psycopg import sql

from archzero_lab.experiments.index_verdict import WriteCost
from archzero_lab.postgres.index_catalog import Index
from archzero_lab.postgres.migrations import Connection
from archzero_lab.stats.estimates import hodges_lehmann

ROWS = 500
"""Rows of an insert; a smaller table gives all that it has."""


@dataclass(frozen=True)
class _Slot:
    ms: float
    wal_records: float
    wal_bytes: float


class Writes:
    """Inserts into one table of a database of ours, as its superuser. Dead rows are vacuumed away after each block."""

    def __init__(self, connection: Connection, table: Index, blocks: int, seed: int) -> None:
        self._connection = connection
        self._table = sql.Identifier(table.schema, table.table)
        self._oid = table.table_oid
        self._blocks = blocks
        self._seed = seed
        columns = connection.execute(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped"
            " AND attgenerated = '' ORDER BY attnum", [table.table_oid]
        ).fetchall()  # fmt: skip
        self._columns = sql.SQL(", ").join(sql.Identifier(name) for (name,) in columns)

    def costs(
        self, indexes: Sequence[Index], of_table: Sequence[Index], step: Callable[[], None] = lambda: None
    ) -> dict[str, WriteCost]:
        """The cost of each index to an insert, by name; nothing of an empty table. `of_table`: all that it has.

        All arms of a block (every index there, each one gone) insert the same rows in random order; a B-tree's are
        both without the table's GIN indexes. These are set to take each row at once (fastupdate off): else a later
        write or a vacuum would pay for them.
        """
        rows = self._row_count()
        if not rows:
            return {}
        for index in indexes:
            if index.method == "gin":
                name = sql.Identifier(index.schema, index.name)
                self._connection.execute(sql.SQL("ALTER INDEX {} SET (fastupdate = off)").format(name))
        gin = [index for index in of_table if index.method == "gin" and not index.guards]
        # a trigram index costs hundreds of times what a B-tree does: beside it, nothing of a B-tree's would be seen
        apart = {index.name: gin if index.method != "gin" else [] for index in indexes}
        arms: list[tuple[str, list[Index]]] = [("", []), ("no gin", gin)] if gin else [("", [])]
        arms += [(index.name, [*apart[index.name], index]) for index in indexes]
        slots: dict[str, list[_Slot]] = {arm: [] for arm, _ in arms}
        with _without_page_images(self._connection):
            for block in range(self._blocks):
                order = list(arms)
                random.Random(f"{self._seed} {block}").shuffle(order)
                for arm, without in order:
                    slots[arm].append(self._slot(without, rows))
                    step()
                self._connection.execute(sql.SQL("VACUUM {}").format(self._table))
        return {
            index.name: self._cost(
                index, of_table, slots["no gin" if apart[index.name] else ""], slots[index.name], rows
            )
            for index in indexes
        }

    def _cost(
        self, index: Index, of_table: Sequence[Index], whole: list[_Slot], without: list[_Slot], rows: int
    ) -> WriteCost:
        added = hodges_lehmann([(a.ms - b.ms) / rows for a, b in zip(whole, without, strict=True)])
        records = np.median([a.wal_records - b.wal_records for a, b in zip(whole, without, strict=True)]) / rows
        size = np.median([a.wal_bytes - b.wal_bytes for a, b in zip(whole, without, strict=True)]) / rows
        return WriteCost(
            added.estimate, added.low, added.high, float(records), float(size),
            hot_lost(index, of_table),
        )  # fmt: skip

    def _row_count(self) -> int:
        row = self._connection.execute(
            sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) taken").format(self._table, sql.Literal(ROWS))
        ).fetchone()
        return int(row[0]) if row else 0

    def _slot(self, without: Sequence[Index], rows: int) -> _Slot:
        with self._connection.transaction(force_rollback=True):
            self._begin(without)
            self._connection.execute(
                sql.SQL("CREATE TEMPORARY TABLE archzero_rows ON COMMIT DROP AS SELECT * FROM {} LIMIT {}").format(
                    self._table, sql.Literal(rows)
                )
            )
            self._connection.execute(
                sql.SQL("DELETE FROM {0} t WHERE ctid IN (SELECT ctid FROM {0} LIMIT {1})").format(
                    self._table, sql.Literal(rows)
                )
            )
            row = self._connection.execute(
                sql.SQL(
                    "EXPLAIN (ANALYZE, WAL, TIMING OFF, FORMAT JSON) INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE"
                    " SELECT {} FROM archzero_rows"
                ).format(self._table, self._columns, self._columns)
            ).fetchone()
        assert row is not None
        told = row[0][0]
        top = told["Plan"]
        return _Slot(float(told["Execution Time"]), top.get("WAL Records", 0), top.get("WAL Bytes", 0))

    def _begin(self, without: Sequence[Index]) -> None:
        # foreign keys and triggers are not what is measured, and would forbid taking the rows out
        self._connection.execute("SET LOCAL session_replication_role = replica")
        for index in without:
            name = sql.Identifier(index.schema, index.name)
            self._connection.execute(sql.SQL("DROP INDEX {}").format(name))


def hot_lost(index: Index, of_table: Sequence[Index]) -> tuple[str, ...]:
    """Columns whose updates could be heap-only but for this one index: no other of the table's indexes reads them."""
    others = {column for other in of_table if other.oid != index.oid for column in other.columns}
    return tuple(column for column in index.columns if column not in others)


@contextmanager
def _without_page_images(connection: Connection) -> Iterator[None]:
    """The whole of a page goes into the WAL at its first change after a checkpoint, whatever was changed: not now.

    For the whole server, which is ours and holds nothing that a crash could harm for good.
    """
    try:
        for statement in ("ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()", "CHECKPOINT"):
            connection.execute(statement)  # the checkpointer takes the setting up before it does the checkpoint
        yield
    finally:
        for statement in ("ALTER SYSTEM RESET full_page_writes", "SELECT pg_reload_conf()"):
            connection.execute(statement)
