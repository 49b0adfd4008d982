"""What reads lose without an index: each statement in paired blocks, with it and with it hidden."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.jobs.indexes.findings import PlanLine
from archzero_lab.jobs.indexes.same_rows import (
    Answer,
    answer_of,
    digest_of,
    same_rows,
    takes_order_as_it_comes,
    without_limit,
)
from archzero_lab.jobs.indexes.verdict import Loss
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.generic_plans import explain_generic
from archzero_lab.postgres.index_catalog import Index, hidden
from archzero_lab.postgres.nested import changes_rows, runs_others
from archzero_lab.postgres.plans import Plan, parse_plan
from archzero_lab.postgres.sql_text import ast, nodes_of
from archzero_lab.postgres.statement import Statement
from archzero_lab.stats.comparison import compare

_SLOT_S = 0.03
_MOST_CALLS = 30
_LONG_S = 0.1
_LONGEST = "60s"
"""A statement that takes longer with every index there is not measured: it would be run some thirty times."""
_MORE, _FEW_BLOCKS = 1.1, 8
_PROBES, _LONGER = 4, 1.3
"""A look before it is measured: of so many runs the fastest, so much slower."""


def slot_s(once_s: float) -> float:
    """The seconds of a slot of a statement that takes so long."""
    return once_s if once_s > _LONG_S else once_s * (1 + _calls(once_s))


def _calls(once_s: float) -> int:
    return int(min(max(_SLOT_S / max(once_s, 1e-6), 3), _MOST_CALLS))


@dataclass
class Reads:
    """The cases of a database of ours, on connections whose cursors take $1 as it stands (psycopg.RawCursor).

    `roles`: that of each role but the owner. `there`: its indexes, by whose labels plans name theirs. `differences`:
    statements whose rows an index changed.
    """

    connection: Connection
    admin: Connection
    cases: Sequence[Statement]
    blocks: int
    seed: int
    there: Sequence[Index] = ()
    roles: Mapping[str, Connection] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    plans: dict[str, Plan] = field(default_factory=dict)
    _explained: dict[tuple[str, tuple[str, ...]], Plan] = field(default_factory=dict)
    _calls: dict[str, int] = field(default_factory=dict)
    _nested: dict[str, bool] = field(default_factory=dict)
    _changing: dict[str, bool] = field(default_factory=dict)
    _measured: dict[tuple[str, tuple[str, ...]], Loss] = field(default_factory=dict)
    _answers: dict[str, tuple[Answer, Answer]] = field(default_factory=dict)
    _named: dict[str, set[str]] = field(default_factory=dict)

    @cached_property
    def _children(self) -> set[str]:
        """Partitions and children: whoever names a parent may read them."""
        rows = self.connection.execute(
            "SELECT DISTINCT c.relname FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE c.relkind = 'r'"
        ).fetchall()
        return {str(name) for (name,) in rows}

    def explain_all(self) -> list[str]:
        """The plan of every case with every index there; a case that cannot be run is let go and told, a line each."""
        let_go = []
        for session in (self.connection, *self.roles.values()):
            session.execute(f"SET statement_timeout = '{_LONGEST}'")
        for case in self.cases:
            try:
                self.plans[case.name] = self.explain(case, ())
            except DatabaseError as error:
                let_go.append(str(error))
        for session in (self.connection, *self.roles.values()):
            session.execute("RESET statement_timeout")
        self.cases = [case for case in self.cases if case.name in self.plans]
        return let_go

    def labels(self, plan: Plan) -> tuple[str, ...]:
        """The indexes that a plan reads, that of a partition as the partitioned table's."""
        known = {(one.schema, one.name): one.label for one in self.there}
        known |= {(part.schema, part.name): one.label for one in self.there for part in one.parts}
        return tuple(dict.fromkeys(known.get(place, place[1]) for place in plan.index_places))

    def explain(self, case: Statement, without: Sequence[Index]) -> Plan:
        """A case's plan while some indexes are hidden; the same is explained once."""
        key = (case.name, tuple(sorted(index.label for index in without)))
        if key not in self._explained:
            self._explained[key] = self._explain(case, without)
        return self._explained[key]

    def _session(self, case: Statement) -> Connection:
        return self.roles.get(case.role, self.connection)

    def _explain(self, case: Statement, without: Sequence[Index]) -> Plan:
        session = self._session(case)
        try:
            with hidden(session, without, self.admin):
                row = session.execute(
                    ("EXPLAIN (ANALYZE, VERBOSE, BUFFERS, SETTINGS, TIMING OFF, FORMAT JSON) " + case.sql).encode(),
                    case.values,
                    prepare=False,
                ).fetchone()
        except psycopg.Error as error:
            raise DatabaseError(f"statement {case.name}: {error.diag.message_primary or error}") from None
        assert row is not None
        return parse_plan(row[0])

    def touches(self, index: Index) -> bool:
        """Whether some case may read or change an index's table, by its text, its plan, or what it runs besides."""
        return any(self._may_touch(case, index) for case in self.cases)

    def lines(self, without: Sequence[Index]) -> list[PlanLine]:
        """How each case is read with every index and without some, its statement's generic plan beside it.

        A statement that has parameters has a generic plan, which a prepared statement may get from its sixth run on.
        """
        generic: dict[tuple[str, str], str] = {}
        for case in self.cases:
            if case.values and (case.role, case.sql) not in generic:
                generic[case.role, case.sql] = explain_generic(self._session(case), case.sql).scans
        return [
            PlanLine(
                case.name, self.plans[case.name].scans, self.explain(case, without).scans,
                generic.get((case.role, case.sql)),
            )
            for case in self.cases
        ]  # fmt: skip

    def users_of(self, index: Index) -> list[Statement]:
        """The cases that an index does something for.

        Those whose plan reads it; those whose plan turns without it (it proves or estimates something); and of those
        that run statements of their own, in functions and triggers, those that work more without it.
        """
        return [
            case
            for case in self.cases
            if index.label in self.labels(self.plans[case.name])
            or (
                not index.guards
                and self._may_touch(case, index)
                and (self._turns(case, index) or self._works_more(case, index))
            )
        ]

    def _may_touch(self, case: Statement, index: Index) -> bool:
        """Whether a case names or reads the index's table, or runs more than its plan shows."""
        if self._nests(case):
            return True
        if case.name not in self._named:
            relations = {node.relname for node in nodes_of(case.sql) if isinstance(node, ast.RangeVar)}
            relations |= {node.relation for node in self.plans[case.name].root.walk() if node.relation}
            self._named[case.name] = relations
        named = self._named[case.name]
        return index.table in named or index.table in self._children

    def _turns(self, case: Statement, index: Index) -> bool:
        shapes, session = [], self._session(case)
        for without in ((), (index,)):
            with hidden(session, without, self.admin):
                row = session.execute(
                    ("EXPLAIN (FORMAT JSON) " + case.sql).encode(), case.values, prepare=False
                ).fetchone()
            assert row is not None
            root = parse_plan(row[0]).root
            shapes.append([(node.node_type, node.relation, node.index, node.condition) for node in root.walk()])
        return shapes[0] != shapes[1]

    def _works_more(self, case: Statement, index: Index) -> bool:
        """Whether a case that runs more than its own plan reads more blocks without an index, or takes longer."""
        if not self._nests(case):
            return False
        before, after = self.plans[case.name].shared_blocks, self.explain(case, (index,)).shared_blocks
        if after > _MORE * before + _FEW_BLOCKS:
            return True
        if not self._changes(case):
            return False
        # EXPLAIN counts no blocks of triggers that fire at the end: of them the fastest run tells
        took: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(_PROBES):
            for there in (True, False):
                with hidden(self._session(case), () if there else (index,), self.admin):
                    self._once(case)  # plans are thrown away at each switch
                    took[there].append(self._once(case))
        return min(took[False]) > _LONGER * min(took[True])

    def _nests(self, case: Statement) -> bool:
        if case.sql not in self._nested:
            self._nested[case.sql] = runs_others(self.connection, case.sql)
        return self._nested[case.sql]

    def loss(self, case: Statement, without: Sequence[Index]) -> Loss:
        """A case's time with and without some indexes, in paired blocks of random order; each set is measured once.

        An index may make an answer faster, never another one: where it does, that is one of the `differences`.
        """
        key = (case.name, tuple(sorted(index.label for index in without)))
        if key in self._measured:
            return self._measured[key]
        if not self._same_rows(case, without):
            self.differences.append(
                f"statement {case.name} has other rows without {', '.join(key[1])}: is that index corrupt in the copy?"
            )
        times: dict[bool, list[float]] = {True: [], False: []}
        rng = random.Random(f"{self.seed} {key}")
        for _ in range(self.blocks):
            order = [True, False]
            rng.shuffle(order)
            for there in order:
                times[there].append(self._slot(case, () if there else without))
            self._sweep(case)
        comparison = compare(times[True], times[False])
        plan = self.explain(case, without)
        gone = set(key[1])
        self._measured[key] = Loss(
            statement=case.name, hidden=key[1], with_ms=comparison.control * 1000,
            without_ms=comparison.treatment * 1000, ratio=comparison.effect_size, ci_low=comparison.ci_low,
            ci_high=comparison.ci_high, blocks=comparison.blocks,
            instead=tuple(label for label in self.labels(plan) if label not in gone),
        )  # fmt: skip
        return self._measured[key]

    def _sweep(self, case: Statement) -> None:
        """Take away the rows that rolled back changes left: each run would find more of them."""
        if not self._changes(case):
            return
        nodes = self.plans[case.name].root.walk()
        for schema, table in {(one.schema, one.relation) for one in nodes if one.node_type == "ModifyTable"}:
            if schema and table:
                self.connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(schema, table)))

    def _slot(self, case: Statement, without: Sequence[Index]) -> float:
        with hidden(self._session(case), without, self.admin):
            first = self._once(case)
            if first > _LONG_S:
                return first  # what a first call adds, a look into the catalog, is nothing beside it
            calls = self._calls.setdefault(case.name, _calls(first))
            return float(np.median([self._once(case) for _ in range(calls)]))

    def _once(self, case: Statement) -> float:
        # each run of a change finds the rows as they were
        with self._session(case).transaction(force_rollback=True) if self._changes(case) else nullcontext():
            began = time.perf_counter()
            # planned each time: a kept plan would go on reading what is hidden
            self._fetch(case)
            return time.perf_counter() - began

    def _changes(self, case: Statement) -> bool:
        if case.sql not in self._changing:
            self._changing[case.sql] = changes_rows(case.sql)
        return self._changing[case.sql]

    def _fetch(self, case: Statement) -> Answer:
        return answer_of(self._session(case).execute(case.sql.encode(), case.values, prepare=False))

    def _answer(self, case: Statement, without: Sequence[Index]) -> Answer:
        with hidden(self._session(case), without, self.admin):
            return self._fetch(case)

    def _same_rows(self, case: Statement, without: Sequence[Index]) -> bool:
        if case.name not in self._answers:
            self._answers[case.name] = self._answer(case, ()), self._answer(case, ())
        first, again = self._answers[case.name]
        if same_rows(first, again, self._answer(case, without)) or takes_order_as_it_comes(case.sql):
            return True
        whole = without_limit(case.sql)
        if whole is None:
            return False
        if first.has_floats:
            return True  # sums in another order, of rows that ties may have changed: nothing to hold them to
        digest = replace(case, sql=digest_of(whole, len(case.values)))
        return self._answer(digest, ()) == self._answer(digest, without)
