"""Execution plans: EXPLAIN's JSON read into typed nodes, each with its own time and blocks, kept raw beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.plan_costs import PlanCosts, plan_costs


@dataclass(frozen=True)
class PlanNode:
    """One node. Rows are a loop's, times and blocks those of all loops; `exclusive_*` are the node's own (plan_costs):
    over a plan they add up to the whole, to what EXPLAIN's rounding to a microsecond a loop leaves.

    Times are in milliseconds, blocks are 8 kB. Below a Gather, whose workers run side by side, times are divided by the
    number of processes: what it took, not what it cost. `actual_rows` None: the node never ran or nothing was executed.
    `subplan` is the name of an InitPlan, SubPlan or CTE that the node is the top of. WAL is of the node and all below;
    `total_cost` is the planner's. `schema` is known where EXPLAIN was asked to be VERBOSE. `keys` are what it sorts or
    groups by.
    """

    depth: int
    node_type: str
    relation: str | None
    alias: str | None
    index: str | None
    condition: str | None
    total_cost: float
    plan_rows: float
    actual_rows: float | None
    loops: int
    rows_removed: float
    total_ms: float
    exclusive_ms: float
    shared_hit_blocks: int
    shared_read_blocks: int
    exclusive_blocks: int
    wal_records: int
    wal_bytes: int
    wal_fpi: int
    subplan: str | None
    children: tuple[PlanNode, ...]
    schema: str | None = None
    keys: tuple[str, ...] = ()

    def walk(self) -> Iterator[PlanNode]:
        """This node and all below it, a parent before its children."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def label(self) -> str:
        """Type, table and index in a phrase, such as `Index Scan using i on cards c`."""
        text = self.node_type
        if self.index:
            text += f" using {self.index}"
        if self.relation:
            text += f" on {self.relation}" + (f" {self.alias}" if self.alias and self.alias != self.relation else "")
        return text


@dataclass(frozen=True)
class Trigger:
    """What a trigger took, of a foreign key or somebody's own, over all its calls."""

    name: str
    relation: str
    ms: float
    calls: int


@dataclass(frozen=True)
class Plan:
    """A statement's plan. `raw` is EXPLAIN's JSON as it came, for any plan viewer.

    `triggers` ran after the root's rows and are not in its times, `jit_ms` is in those of whichever node waited for it.
    `outside_ms` is of changes in CTEs that run after the root.
    """

    root: PlanNode
    planning_ms: float
    execution_ms: float
    settings: dict[str, str]
    raw: str
    triggers: tuple[Trigger, ...] = ()
    jit_ms: float = 0.0
    outside_ms: float = 0.0

    @property
    def indexes(self) -> tuple[str, ...]:
        """Names of the indexes that the plan reads, in the order of the tree."""
        return tuple(dict.fromkeys(node.index for node in self.root.walk() if node.index))

    @property
    def index_places(self) -> tuple[tuple[str, str], ...]:
        """Schema and name of the indexes that a VERBOSE plan reads: a bitmap's lie where its table's scan says."""
        places: dict[tuple[str, str], None] = {}

        def look(node: PlanNode, schema: str) -> None:
            schema = node.schema or schema
            if node.index:
                places[schema, node.index] = None
            for child in node.children:
                look(child, schema)

        look(self.root, "")
        return tuple(places)

    @property
    def scans(self) -> str:
        """What it reads and how, in a phrase: its scans in the order of the tree."""
        return "; ".join(node.label for node in self.root.walk() if node.relation or node.index)

    @property
    def shared_blocks(self) -> int:
        """Blocks read by the whole statement, from memory or not."""
        return self.root.shared_hit_blocks + self.root.shared_read_blocks


def explain(
    connection: Connection, statement: str, params: Mapping[str, Any] | Sequence[Any] | None, *, run: bool = True
) -> Plan:
    """Run one statement under EXPLAIN (ANALYZE, BUFFERS, SETTINGS, WAL) in a transaction that is rolled back.

    Not `run` it is only planned.

    Times of nodes cost time themselves (a join took 96 ms instead of 52): they explain, verdicts use the client's
    clock on plain runs. Raises DatabaseError with PostgreSQL's reason for a statement that it does not take.
    """
    options = "ANALYZE, BUFFERS, SETTINGS, WAL" if run else "SETTINGS"
    try:
        with connection.transaction(force_rollback=True):
            # prepared, a text is one statement: none that follows can end the transaction
            row = connection.execute(
                (f"EXPLAIN ({options}, FORMAT JSON) " + statement).encode(), params, prepare=True
            ).fetchone()
    except psycopg.Error as error:
        raise DatabaseError(
            f"PostgreSQL: {error.diag.message_primary or error}; correct the statement and run it again"
        ) from None
    assert row is not None
    document = row[0] if not isinstance(row[0], str) else json.loads(row[0])
    return parse_plan(document)


def parse_plan(document: Any) -> Plan:
    """Read what EXPLAIN (FORMAT JSON) gave, a list of one plan. Raises DatabaseError for anything else."""
    try:
        top = document[0]
        costs = plan_costs(top["Plan"])
        return Plan(
            root=_node(top["Plan"], 0, costs),
            planning_ms=float(top.get("Planning Time", 0.0)),
            execution_ms=float(top.get("Execution Time", 0.0)),
            settings=dict(top.get("Settings", {})),
            raw=json.dumps(document),
            triggers=tuple(
                Trigger(str(one.get("Constraint Name") or one["Trigger Name"]), str(one.get("Relation", "")),
                        float(one.get("Time", 0.0)), int(one.get("Calls", 0)))
                for one in top.get("Triggers", ())
            ),
            jit_ms=float(top.get("JIT", {}).get("Timing", {}).get("Total", 0.0)),
            outside_ms=costs.outside_ms,
        )  # fmt: skip
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DatabaseError(f"not a plan of EXPLAIN (FORMAT JSON): {error}") from None


_LOGGED = re.compile(r"duration: (?P<ms>[\d.]+) ms\s+plan:")
_FORMS = {
    "EXPLAIN's text": re.compile(r"cost=|->|\(actual |Seq Scan on|Index (?:Only )?Scan|QUERY PLAN"),
    "EXPLAIN's XML": re.compile(r"<explain|<Plan>"),
    "EXPLAIN's YAML": re.compile(r"Node Type: |- Plan:"),
}
"""What people have in place of JSON, and how it is known."""


def read_plan(text: str | bytes | Mapping[str, Any] | Sequence[Any]) -> Plan:
    """A plan as people have it: EXPLAIN's JSON, as text or as a driver has read it, auto_explain's object, or its line.

    A line of a log may be of stderr, csvlog or jsonlog; its duration is the plan's, where that has none. Raises
    DatabaseError for what is none of these, by its name where it is another form of EXPLAIN's, and for several plans.
    """
    if not isinstance(text, str | bytes):
        return parse_plan(_unpacked(text))
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    # psql's aligned output ends each line with a +, and a csvlog doubles the quotes
    plain = re.sub(r"\s*\+$", "", text, flags=re.MULTILINE)
    plans = _plans_in(plain) or _plans_in(plain.replace('""', '"'))
    if len(plans) > 1:
        raise DatabaseError(f"that holds {len(plans)} plans: give one")
    if plans:
        plan = parse_plan([plans[0]])
        logged = _LOGGED.search(text)
        return replace(plan, execution_ms=float(logged["ms"])) if logged and not plan.execution_ms else plan
    for name, form in _FORMS.items():
        if form.search(text):
            raise DatabaseError(f"that is {name}; run it as EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) and give its JSON")
    raise DatabaseError("that holds no plan: give the JSON of EXPLAIN (FORMAT JSON) or of auto_explain")


def _plans_in(text: str) -> list[dict[str, Any]]:
    """The objects of a text that hold a plan; a jsonlog's entry holds it in its message."""
    decoder, plans, at = json.JSONDecoder(), [], 0
    while (begin := re.compile(r"[\[{]").search(text, at)) is not None:  # a log's line has brackets of its own before
        try:
            read, length = decoder.raw_decode(text[begin.start() :])
        except (ValueError, RecursionError):
            at = begin.end()
            continue
        at = begin.start() + length
        for one in _flat(read):
            if isinstance(one, dict) and "Plan" in one:
                plans.append(one)
            elif isinstance(one, dict) and isinstance(one.get("message"), str):
                plans += _plans_in(one["message"])
    return plans


def _flat(read: Any) -> Iterator[Any]:
    if isinstance(read, list):
        for one in read:
            yield from _flat(one)
    else:
        yield read


def _unpacked(document: Any) -> Any:
    """A driver's list, or the object in it."""
    while isinstance(document, list | tuple) and len(document) == 1 and not isinstance(document[0], dict):
        document = document[0]
    return document if isinstance(document, list | tuple) else [document]


def _node(entry: dict[str, Any], depth: int, costs: PlanCosts) -> PlanNode:
    children = tuple(_node(child, depth + 1, costs) for child in entry.get("Plans", ()))
    loops = int(entry.get("Actual Loops", 1))
    cost = costs.of(entry)
    conditions = ("Index Cond", "Recheck Cond", "Filter", "Hash Cond", "Merge Cond", "Join Filter")
    return PlanNode(
        depth=depth,
        node_type=("Parallel " if entry.get("Parallel Aware") else "") + str(entry["Node Type"]),
        relation=entry.get("Relation Name") or entry.get("CTE Name"),
        alias=entry.get("Alias"),
        index=entry.get("Index Name"),
        condition="; ".join(f"{name}: {entry[name]}" for name in conditions if name in entry) or None,
        total_cost=float(entry.get("Total Cost", 0.0)),
        plan_rows=float(entry.get("Plan Rows", 0)),
        actual_rows=float(entry["Actual Rows"]) if "Actual Rows" in entry and loops else None,
        loops=loops,
        rows_removed=float(entry.get("Rows Removed by Filter", 0) + entry.get("Rows Removed by Index Recheck", 0)),
        total_ms=cost.ms,
        exclusive_ms=cost.own_ms,
        shared_hit_blocks=int(entry.get("Shared Hit Blocks", 0)),
        shared_read_blocks=int(entry.get("Shared Read Blocks", 0)),
        exclusive_blocks=int(cost.own_blocks),
        wal_records=int(entry.get("WAL Records", 0)),
        wal_bytes=int(entry.get("WAL Bytes", 0)),
        wal_fpi=int(entry.get("WAL FPI", 0)),
        subplan=entry.get("Subplan Name"),
        children=children,
        schema=entry.get("Schema"),
        keys=tuple(str(key) for key in entry.get("Sort Key") or entry.get("Group Key") or ()),
    )
