"""Writes that are measured and rolled back: the same rows inserted, or one column of them updated, without an index."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.index_catalog import Index

ROWS = 500
"""Rows of an insert; a smaller table gives all that it has."""

UPDATED = 100
"""Rows of an update: fewer, as each is written twice, beside every index of the table."""

_ATTEMPTS = 4
"""Rolled back and measured again at most so often; of a server that checkpoints all the time the images are counted."""

_ROOM = 40
"""The fill factor of the pages that hold rows to update: each new version finds room beside the old one."""


Fit = Callable[[int, float], int]
"""(blocks asked for, seconds of one) -> blocks to measure."""


def keep_all(blocks: int, _: float) -> int:
    """All that were asked for."""
    return blocks


@dataclass(frozen=True)
class Slot:
    """One write: milliseconds, WAL records and bytes a row, the share of its rows that were updated heap-only.

    `page_images` are whole pages that it wrote into the WAL.
    """

    ms: float
    wal_records: float
    wal_bytes: float
    hot: float
    page_images: int = 0


@dataclass(frozen=True)
class WriteArm:
    """A write without some indexes: an insert, or an update of `column`."""

    name: str
    without: tuple[Index, ...]
    column: str = ""


class WriteSlots:
    """Writes into one table of a database of ours, as its superuser, every one of them rolled back."""

    def __init__(self, connection: Connection, table: Index, seed: int) -> None:
        self._connection = connection
        self._table = sql.Identifier(table.schema, table.table)
        self._name = table.qualified_table
        self._oid = table.table_oid
        self._seed = seed
        columns = connection.execute(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped"
            " AND attgenerated = '' ORDER BY attnum", [table.table_oid]
        ).fetchall()  # fmt: skip
        self._columns = sql.SQL(", ").join(sql.Identifier(name) for (name,) in columns)
        # kept for the session: a scan of a large table need not begin at the same row twice
        self._kept = sql.Identifier(f"archzero_rows_{table.table_oid}")
        self._changeable: dict[str, bool] = {}
        self.rows = 0
        try:
            self._execute(
                "CREATE TEMPORARY TABLE {kept} AS SELECT ctid AS archzero_place, * FROM {table} LIMIT {rows}",
                rows=sql.Literal(ROWS),
            )
        except psycopg.errors.TooManyColumns:
            return  # it has as many as PostgreSQL allows: there is no room for its rows' places
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE (SELECT relkind = 'r' FROM pg_class WHERE oid = $1::oid)").format(
                self._kept
            ), [self._oid],
        ).fetchone()  # fmt: skip
        self.rows = int(row[0]) if row else 0  # none of a materialized view: nobody writes to it

    def run(
        self, arms: Sequence[WriteArm], blocks: int, step: Callable[[], None], fit: Fit = keep_all
    ) -> dict[WriteArm, list[Slot]]:
        """The slots of each arm, a block's arms in random order. Dead rows are vacuumed away after each block.

        After a block `fit` says how many there will be: it is told those asked for and the seconds that one takes.

        Raises DatabaseError naming the table for a write that PostgreSQL does not take.
        """
        slots: dict[WriteArm, list[Slot]] = {arm: [] for arm in arms}
        wanted, began = blocks, time.perf_counter()
        for block in range(blocks):
            if block >= wanted:
                break
            order = list(arms)
            random.Random(f"{self._seed} {block}").shuffle(order)
            for arm in order:
                try:
                    slots[arm].append(self._without_page_images(arm))
                except psycopg.Error as error:
                    reason = error.diag.message_primary or error
                    raise DatabaseError(f"writing to {self._name} without {arm.name or 'no index'}: {reason}") from None
                step()
            self._execute("VACUUM {table}")
            if block == 0:  # it pays for whole pages that no other pays for: what it takes is the most
                wanted = fit(blocks, time.perf_counter() - began)
        return slots

    def _without_page_images(self, arm: WriteArm) -> Slot:
        """A slot whose pages were changed since the last checkpoint already.

        The whole of a page goes into the WAL at its first change after one, whatever was changed. So who finds such
        images measures again: the pages have theirs then.
        """
        for _ in range(_ATTEMPTS):
            slot = self._update(arm) if arm.column else self._insert(arm)
            if not slot.page_images:
                break
        return slot

    def changeable(self, columns: Sequence[str]) -> str:
        """The first of some columns whose values can be passed on among the rows; "" where none can.

        Not one behind a unique index, a check, an identity, and not one that holds the same value everywhere.
        """
        for column in columns:
            if column not in self._changeable:
                try:
                    self._update(WriteArm("", (), column))
                except (psycopg.Error, _NothingChangesError):
                    self._changeable[column] = False
                else:
                    self._changeable[column] = True
            if self._changeable[column]:
                return column
        return ""

    def _insert(self, arm: WriteArm) -> Slot:
        with self._connection.transaction(force_rollback=True):
            self._begin(arm.without)
            return self._explained(
                "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {kept}", self.rows
            )

    def _update(self, arm: WriteArm) -> Slot:
        """Rows written onto pages with room, so that a heap-only update is possible; then each gets another's value."""
        column = sql.Identifier(arm.column)
        with self._connection.transaction(force_rollback=True):
            self._begin(arm.without)
            for statement in (
                "ALTER TABLE {table} SET (fillfactor = {room})",
                "CREATE TEMPORARY TABLE archzero_places ON COMMIT DROP AS"
                " SELECT archzero_place AS place, {column} AS value FROM {kept} LIMIT 0",
                "WITH made AS (INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns}"
                " FROM {kept} LIMIT {rows} RETURNING ctid, {column}) INSERT INTO archzero_places SELECT * FROM made",
                # half-way round the sorted values: as many rows as can get another value than their own
                "CREATE TEMPORARY TABLE archzero_changes ON COMMIT DROP AS WITH sorted AS (SELECT place, value,"
                ' row_number() OVER (ORDER BY value::text COLLATE "C", place) - 1 AS at, count(*) OVER () AS whole'
                " FROM archzero_places) SELECT one.place, other.value FROM sorted one JOIN sorted other"
                " ON other.at = (one.at + one.whole / 2) % one.whole"
                " WHERE one.value::text IS DISTINCT FROM other.value::text",
                "SET LOCAL enable_hashjoin = off",  # each row by its place, not by a scan of the whole table
                "SET LOCAL enable_mergejoin = off",
            ):
                self._execute(statement, column=column, room=sql.Literal(_ROOM), rows=sql.Literal(UPDATED))
            changed = self._connection.execute("SELECT count(*) FROM archzero_changes").fetchone()
            if changed is None or 10 * changed[0] < min(self.rows, UPDATED):
                raise _NothingChangesError
            return self._explained(
                "UPDATE {table} SET {column} = changed.value FROM archzero_changes changed WHERE {table}.ctid = place",
                changed[0],
                column=column,
            )

    def _explained(self, statement: LiteralString, rows: int, **given: sql.Composable) -> Slot:
        before = self._heap_only()  # of this session since it last told the server, transactions before this one too
        row = self._execute("EXPLAIN (ANALYZE, WAL, TIMING OFF, FORMAT JSON) " + statement, **given).fetchone()
        hot = self._heap_only() - before
        assert row is not None
        plan = row[0][0]
        top = plan["Plan"]
        return Slot(
            plan["Execution Time"] / rows, top.get("WAL Records", 0) / rows, top.get("WAL Bytes", 0) / rows,
            hot / rows, int(top.get("WAL FPI", 0)),
        )  # fmt: skip

    def _heap_only(self) -> int:
        row = self._connection.execute("SELECT pg_stat_get_xact_tuples_hot_updated($1::oid)", [self._oid]).fetchone()
        return int(row[0]) if row else 0

    def _begin(self, without: Sequence[Index]) -> None:
        # foreign keys and triggers are not what is measured, and would forbid taking the rows out
        self._connection.execute("SET LOCAL session_replication_role = replica")
        for index in without:
            self._execute("DROP INDEX {index}", index=self._root(index))
        self._execute("DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT archzero_place FROM {kept}))")

    def _root(self, index: Index) -> sql.Composable:
        """What is to be dropped for an index to be gone: of a partition's, that of the whole partitioned table."""
        row = self._connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.oid = coalesce(pg_partition_root($1::oid::regclass), $1::oid)", [index.oid],
        ).fetchone()  # fmt: skip
        return sql.Identifier(*row) if row else sql.Identifier(index.schema, index.name)

    def _execute(self, statement: LiteralString, **given: sql.Composable) -> psycopg.Cursor[Any]:
        filled = sql.SQL(statement).format(table=self._table, columns=self._columns, kept=self._kept, **given)
        return self._connection.execute(filled)


class _NothingChangesError(Exception):
    """Too few rows would get another value for an update to be measured."""
