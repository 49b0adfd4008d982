"""The index experiment: what each index of a migration saves the reads, costs the writes, and what to do with it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress

from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.jobs.indexes.query_cases import cases_of
from archzero_lab.jobs.indexes.reads import Reads
from archzero_lab.jobs.indexes.session import admin_connection, raw_connection
from archzero_lab.jobs.indexes.verdict import (
    KEPT,
    READS_PER_WRITE,
    Finding,
    IndexReport,
    Loss,
    judge,
    keep_one_of_each,
)
from archzero_lab.jobs.indexes.writes import Writes
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.index_catalog import Index, list_indexes, redundant
from archzero_lab.postgres.index_purposes import foreign_keys, purposes
from archzero_lab.postgres.statement import Statement
from archzero_lab.stats.verdict import Change


def run_index_experiment(
    url: str,
    admin_url: str,
    indexes: Sequence[str],
    cases: Sequence[Statement],
    *,
    blocks: int = 10,
    reads_per_write: float = READS_PER_WRITE,
    seed: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> IndexReport:
    """Measure the named indexes of a database that is ours to hurt, as its owner; a superuser only hides them.

    Reads first, on the database as it was made; then build times, each index made once more; then writes, which are
    rolled back. Raises DatabaseError naming a statement that cannot be run, MeasurementError for one whose rows change.
    """
    with raw_connection(url) as connection, admin_connection(admin_url) as admin:
        there = list_indexes(connection)
        chosen = [index for index in there if index.name in set(indexes)]
        if not chosen:
            raise DatabaseError("the migration makes no index: nothing to measure")
        needed = purposes(connection)
        cases = [*cases, *_look_ups(connection, chosen)]
        reads = Reads(connection, admin, cases, blocks, seed)
        reads.explain_all()
        used = {index.name: reads.users_of(index) for index in chosen}
        # of the writes, an insert and an update an index and block; a column may not be there to be updated
        steps = 2 * len(cases) + sum(map(len, used.values())) + (3 * blocks + 1) * len(chosen)
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            progress(min(done / steps, 1.0))

        free = [index for index in chosen if not index.guards]
        plans = reads.lines(free)
        whole = [reads.loss(case, free, step) for case in cases]
        losses = {
            index.name: [reads.loss(case, [index], step) for case in used[index.name]]
            for index in free
        }  # fmt: skip
        pairs = {index.name: _pairs(reads, index, losses[index.name], chosen) for index in free}
        built = {index.name: _build_s(connection, index) for index in free}
        writes = _writes(connection, free, there, blocks, seed)
        costs = {name: cost for table in writes for name, cost in table.costs(step).items()}
        superfluous = redundant(there)
        findings = []
        for index in chosen:
            mine = losses.get(index.name, [])
            verdict, why, reads_a_write, best = judge(
                constraint=index.guards, used_by=[case.name for case in used[index.name]], losses=mine,
                cost=costs.get(index.name), subsumed_by=superfluous.get(index.name),
                pair_losses=pairs.get(index.name, []), needed=needed.get(index.oid, []),
                reads_per_write=reads_per_write,
            )  # fmt: skip
            findings.append(
                Finding(index.name, index.qualified_table, index.bytes, built.get(index.name), verdict, why,
                        tuple(case.name for case in used[index.name]), tuple(mine), costs.get(index.name),
                        reads_a_write, best)
            )  # fmt: skip
        instead = {
            index.name: {name for loss in losses.get(index.name, []) for name in loss.instead}
            | ({superfluous[index.name]} if index.name in superfluous else set())
            for index in chosen
        }
        findings = keep_one_of_each(findings, instead)
        dropped = {finding.name for finding in findings if finding.verdict not in KEPT}
        gone = [index for index in free if index.name in dropped]
        without = [reads.loss(case, gone, step) for case in cases] if gone else []
        kept = {index.name for index in free} - dropped
        rates = [rate for table in writes for rate in table.rates(kept, step)]
        return IndexReport(
            tuple(findings), tuple(whole), tuple(without), tuple(rates), tuple(plans), _row_counts(connection, chosen),
            _server(connection),
        )  # fmt: skip


def _look_ups(connection: Connection, indexes: Sequence[Index]) -> list[Statement]:
    """What the constraints do is part of the workload: each foreign key's look-up of children that an index serves."""
    chosen = {index.oid for index in indexes if not index.guards}
    found: list[Statement] = []
    for key in foreign_keys(connection):
        if chosen & set(key.served_by):
            # an empty table has no value to ask for; its key keeps its index all the same
            with suppress(DatabaseError):
                found += cases_of(connection, f"children of {key.parent} ({key.name})", key.look_up())
    return found


def _pairs(reads: Reads, index: Index, losses: Sequence[Loss], chosen: Sequence[Index]) -> list[Loss]:
    """Where another of the indexes took its place: the statement with both hidden, to tell one that is enough.

    Not of an index that some statement is slower without: it is needed, whatever stands beside it.
    """
    if any(loss.change is Change.REGRESSED for loss in losses):
        return []
    by_name = {other.name: other for other in chosen if not other.guards}
    cases = {case.name: case for case in reads.cases}
    found = []
    for loss in losses:
        others = [by_name[name] for name in loss.instead if name in by_name]
        if others:
            found.append(reads.loss(cases[loss.statement], [index, *others]))
    return found


def _build_s(connection: Connection, index: Index) -> float:
    began = time.perf_counter()
    connection.execute(sql.SQL("REINDEX INDEX {}").format(sql.Identifier(index.schema, index.name)))
    return time.perf_counter() - began


def _writes(
    connection: Connection, indexes: Sequence[Index], there: Sequence[Index], blocks: int, seed: int
) -> list[Writes]:
    by_table: dict[int, list[Index]] = defaultdict(list)
    for index in indexes:
        by_table[index.table_oid].append(index)
    return [
        Writes(connection, mine, [index for index in there if index.table_oid == oid], blocks, seed)
        for oid, mine in by_table.items()
    ]


def _row_counts(connection: Connection, indexes: Sequence[Index]) -> dict[str, int]:
    found = {}
    for index in {one.table_oid: one for one in indexes}.values():
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(index.schema, index.table))
        ).fetchone()
        found[index.qualified_table] = int(row[0]) if row else 0
    return found


def _server(connection: Connection) -> str:
    row = connection.execute("SELECT current_setting('server_version')").fetchone()
    return f"PostgreSQL {row[0]}" if row else ""
