"""The index experiment: what each index of a migration saves the reads, costs the writes, and what to do with it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.jobs.indexes.budget import LEAST_BLOCKS, Budget, Done, cases_s, in_words, loss_s, too_dear, writes_s
from archzero_lab.jobs.indexes.doubts import Doubt, doubted, not_measured
from archzero_lab.jobs.indexes.findings import IndexReport
from archzero_lab.jobs.indexes.query_cases import cases_of
from archzero_lab.jobs.indexes.reads import Reads
from archzero_lab.jobs.indexes.session import admin_connection, raw_connection, role_sessions
from archzero_lab.jobs.indexes.verdict import (
    KEPT,
    READS_PER_WRITE,
    Finding,
    Loss,
    WriteCost,
    judge,
    keep_one_of_each,
)
from archzero_lab.jobs.indexes.writes import Writes
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.index_catalog import Index, list_indexes, redundant
from archzero_lab.postgres.index_purposes import foreign_keys, purposes
from archzero_lab.postgres.nested import indirect_names
from archzero_lab.postgres.planner_settings import unusual_settings
from archzero_lab.postgres.statement import Statement
from archzero_lab.servers.versions import postgres_version
from archzero_lab.stats.verdict import Change


def run_index_experiment(
    url: str,
    admin_url: str,
    indexes: Collection[int],
    cases: Sequence[Statement],
    *,
    blocks: int = 10,
    reads_per_write: float = READS_PER_WRITE,
    seed: int = 1,
    doubts: Sequence[Doubt] = (),
    role_urls: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    tell: Callable[[str], None] = lambda text: None,
    progress: Callable[[float], None] = lambda share: None,
) -> IndexReport:
    """Measure indexes (oids) of a database that is ours to hurt, as its owner; a superuser only hides them.

    Statements of one of the roles of `role_urls` are run as that; `settings` are those of every session.

    Reads first, on the database as it was made; then build times, each index made once more; then writes, which are
    rolled back. A statement that cannot be run is let go and told; a verdict against an index that one of the `doubts`
    touches is none. With a budget fewer blocks are measured, six at least; `tell` gets what is to come. Raises
    DatabaseError where no index or no statement is there to measure.
    """
    given, budget = settings or {}, budget or Budget()
    with (
        raw_connection(url, given) as connection,
        admin_connection(admin_url) as admin,
        role_sessions(role_urls or {}, given) as roles,
    ):
        there = list_indexes(connection)
        chosen = [index for index in there if index.oid in indexes]
        if not chosen:
            raise DatabaseError("the migration makes no index: nothing to measure")
        needed = purposes(connection)
        measured = [*cases, *_look_ups(connection, chosen)]
        reads = Reads(connection, admin, measured, blocks, seed, there, roles)
        let_go = reads.explain_all()
        cases = reads.cases
        if not cases:
            raise DatabaseError(f"no statement can be run: {let_go[0]}" if let_go else "no statement to measure with")
        used = {index.label: reads.users_of(index) for index in chosen}
        free = [index for index in chosen if not index.guards]
        times = Counter(case.name for mine in used.values() for case in mine)
        seconds = cases_s(reads, times)
        if budget.seconds:
            slower = _look(reads, free, blocks)
            seconds = {name: slower * a_block for name, a_block in seconds.items()}
        writing = writes_s(len(free))
        dear = too_dear(seconds, writing, budget.left)
        for name in dear:
            took = reads.plans[name].execution_ms / 1000
            let_go.append(f"statement {name}: {took:.2g} s a run, too long for the budget; the others fit without it")
        reads.cases = cases = [case for case in cases if case.name not in dear]
        used = {label: [case for case in mine if case.name not in dear] for label, mine in used.items()}
        a_block = writing + sum(seconds[case.name] for case in cases)
        wanted, reads.blocks = blocks, budget.blocks(blocks, a_block)
        blocks = reads.blocks
        tell(in_words(len(cases), len(chosen), blocks, a_block, budget.left))
        reading = blocks * (a_block - writing)
        done = Done(blocks * a_block, progress)

        def loss(case: Statement, without: Sequence[Index]) -> Loss:
            measured = reads.loss(case, without)
            # of a block of a case: against all indexes, those to drop, and twice for each that it uses
            done.add(blocks * seconds[case.name] / (2 + 2 * times[case.name]))
            return measured

        plans = reads.lines(free)
        whole = [loss(case, free) for case in cases]
        losses = {
            index.label: [loss(case, [index]) for case in used[index.label]]
            for index in free
        }  # fmt: skip
        pairs = {index.label: _pairs(loss, reads.cases, index, losses[index.label], chosen) for index in free}
        done.come_to(reading)
        built = _build_s(connection, free, budget)
        writes = _writes(connection, free, there, wanted, seed)
        costs: dict[str, WriteCost] = {}
        for number, table in enumerate(writes):
            # of what is left, a third is for what all indexes of the tables cost together
            costs |= table.costs(done.add_write, partial(budget.blocks, share=2 / 3 / (len(writes) - number)))
        superfluous = {oid: other.label for oid, other in redundant(there).items()}
        findings = []
        for index in chosen:
            mine = losses.get(index.label, [])
            verdict, why, reads_a_write, best = judge(
                constraint=index.guards, used_by=[case.name for case in used[index.label]], losses=mine,
                cost=costs.get(index.label), subsumed_by=superfluous.get(index.oid),
                pair_losses=pairs.get(index.label, []), needed=needed.get(index.oid, []),
                reads_per_write=reads_per_write,
            )  # fmt: skip
            findings.append(
                Finding(index.label, index.qualified_table, index.bytes, built.get(index.label), verdict, why,
                        tuple(case.name for case in used[index.label]), tuple(mine), costs.get(index.label),
                        reads_a_write, best, len(index.parts), (index.schema, index.name))
            )  # fmt: skip
        instead = {
            index.label: {label for loss in losses.get(index.label, []) for label in loss.instead}
            | ({superfluous[index.oid]} if index.oid in superfluous else set())
            for index in chosen
        }
        findings = keep_one_of_each(findings, instead)
        by_label = {index.label: index for index in chosen}
        indirect = indirect_names(connection)
        doubts = [*doubts, *not_measured({case.name: case.sql for case in measured if case not in cases}, indirect)]
        findings = [
            one if by_label[one.name].oid in superfluous
            else doubted(one, doubts, by_label[one.name], reads.touches(by_label[one.name]))
            for one in findings
        ]  # fmt: skip
        dropped = {finding.name for finding in findings if finding.verdict not in KEPT}
        gone = [index for index in free if index.label in dropped]
        without = [loss(case, gone) for case in cases] if gone else []
        kept = {index.label for index in free} - dropped
        rates = [
            rate for number, table in enumerate(writes)
            for rate in table.rates(kept, done.add_write, partial(budget.blocks, share=1 / (len(writes) - number)))
        ]  # fmt: skip
        return IndexReport(
            tuple(findings), tuple(whole), tuple(without), tuple(rates), tuple(plans), _row_counts(connection, chosen),
            _server(connection), tuple(let_go), tuple(dict.fromkeys(reads.differences)), blocks,
            unusual_settings(connection),
        )  # fmt: skip


def _look_ups(connection: Connection, indexes: Sequence[Index]) -> list[Statement]:
    """What the constraints do is part of the workload: each foreign key's look-up of children that an index serves."""
    chosen = {index.oid for index in indexes if not index.guards}
    statements: list[Statement] = []
    for key in foreign_keys(connection):
        if chosen & set(key.served_by):
            # an empty table has no value to ask for; its key keeps its index all the same
            with suppress(DatabaseError):
                statements += cases_of(connection, f"children of {key.parent} ({key.name})", key.look_up())
    return statements


def _pairs(
    loss_of: Callable[[Statement, Sequence[Index]], Loss], measured: Sequence[Statement], index: Index,
    losses: Sequence[Loss], chosen: Sequence[Index],
) -> list[Loss]:  # fmt: skip
    """Where another of the indexes took its place: the statement with both hidden, to tell one that is enough.

    Not of an index that some statement is slower without: it is needed, whatever stands beside it.
    """
    if any(loss.change is Change.REGRESSED for loss in losses):
        return []
    by_name = {other.label: other for other in chosen if not other.guards}
    cases = {case.name: case for case in measured}
    pairs = []
    for loss in losses:
        others = [by_name[name] for name in loss.instead if name in by_name]
        if others:
            pairs.append(loss_of(cases[loss.statement], [index, *others]))
    return pairs


def _look(reads: Reads, indexes: Sequence[Index], blocks: int) -> float:
    """How many times as long as its plan says the cheapest case's comparison takes here; it is one of those to come."""
    case = min(reads.cases, key=lambda case: loss_s(reads, case))
    reads.blocks = min(blocks, LEAST_BLOCKS)
    began = time.perf_counter()
    reads.loss(case, indexes)
    return max((time.perf_counter() - began) / (reads.blocks * loss_s(reads, case)), 1.0)


def _build_s(connection: Connection, indexes: Sequence[Index], budget: Budget) -> dict[str, float]:
    """Seconds in which each index is built, by label; the smallest first, of a budget a small part."""
    built: dict[str, float] = {}
    for index in sorted(indexes, key=lambda index: index.bytes):
        if sum(built.values()) > budget.builds_until():
            break
        began = time.perf_counter()
        connection.execute(sql.SQL("REINDEX INDEX {}").format(sql.Identifier(index.schema, index.name)))
        built[index.label] = time.perf_counter() - began
    return built


def _writes(
    connection: Connection, indexes: Sequence[Index], there: Sequence[Index], blocks: int, seed: int
) -> list[Writes]:
    """The writes of each table with an index to judge; of a partitioned one those of its largest partition."""
    by_table: dict[int, list[Index]] = defaultdict(list)
    for index in indexes:
        by_table[index.table_oid].append(index)
    writes = []
    for mine in by_table.values():
        written = mine[0].largest_table
        here = [part for index in there if (part := index.on(written)) is not None]
        writes.append(Writes(connection, [part for one in mine if (part := one.on(written))], here, blocks, seed))
    return writes


def _row_counts(connection: Connection, indexes: Sequence[Index]) -> dict[str, int]:
    counts = {}
    for index in {one.table_oid: one for one in indexes}.values():
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(index.schema, index.table))
        ).fetchone()
        counts[index.qualified_table] = int(row[0]) if row else 0
    return counts


def _server(connection: Connection) -> str:
    return f"PostgreSQL {postgres_version(connection)}"
