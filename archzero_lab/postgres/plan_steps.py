"""The steps of a plan: its nodes with their helpers folded in, each known by what it works on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from archzero_lab.postgres.plans import PlanNode

Role = Literal["scan", "join", "aggregate", "sort", "limit", "parallel", "write", "other"]
_ROLES: tuple[tuple[Role, tuple[str, ...]], ...] = (
    ("scan", ("Scan",)),
    ("join", ("Nested Loop", "Hash Join", "Merge Join")),
    ("aggregate", ("Aggregate", "Group", "WindowAgg", "Unique")),
    ("sort", ("Sort",)),
    ("limit", ("Limit",)),
    ("parallel", ("Gather",)),
    ("write", ("ModifyTable", "LockRows")),
)
_HELPERS = ("Bitmap Index Scan", "BitmapAnd", "BitmapOr", "Hash", "Materialize", "Memoize")
"""Nodes that only serve the one above them: their time and blocks are counted there."""
_LEVELS = ("Append", "Merge Append", "Recursive Union", "SetOp", "HashSetOp")
"""Nodes each of whose inputs is a query of its own, as is what an aggregate or a limit takes in."""
_RETURNS = re.compile(r" \(returns .*\)$")  # the number of a parameter, which another plan counts otherwise


@dataclass(frozen=True, eq=False)  # two may look alike: each is itself
class Step:
    """A node with its helpers folded in. Rows and times are totals over loops.

    `tables` are the aliases of what is scanned below, not in a subplan that hangs there. `within` is the InitPlan,
    SubPlan or CTE that it is a part of; `level` tells queries in one another apart: an aggregate's input is another
    level than its result.
    """

    label: str
    role: Role
    tables: frozenset[str]
    within: str
    level: int
    indexes: tuple[str, ...]
    rows: float | None
    planned_rows: float
    rows_removed: float
    ms: float
    blocks: int
    read_blocks: int
    node: PlanNode

    @property
    def node_type(self) -> str:
        """The kind of node, without what it works on."""
        return self.node.node_type.removeprefix("Parallel ")


def steps(node: PlanNode, within: str = "", level: int = 0) -> Iterator[Step]:
    """The nodes of a plan with their helpers folded into them, a parent before its children."""
    if node.subplan:
        within, level = _RETURNS.sub("", node.subplan), id(node)
    helpers, others = _split(node)
    folded = [node, *helpers]
    indexes = tuple(dict.fromkeys(one.index for one in folded if one.index))
    suffix = f" using {', '.join(indexes)}" if indexes and not node.index else ""
    yield Step(
        label=node.label + suffix,
        role=_role(node),
        tables=_tables(node),
        within=within,
        level=level,
        indexes=indexes,
        rows=None if node.actual_rows is None else node.actual_rows * node.loops,
        planned_rows=node.plan_rows,
        rows_removed=node.rows_removed * node.loops,
        ms=sum(one.exclusive_ms for one in folded),
        blocks=sum(one.exclusive_blocks for one in folded),
        read_blocks=sum(_own_reads(one) for one in folded),
        node=node,
    )
    for child in others:
        below = level
        if _role(node) in ("aggregate", "limit") or node.node_type.removeprefix("Parallel ") in _LEVELS:
            below = id(child)
        yield from steps(child, within, below)


def _split(node: PlanNode) -> tuple[list[PlanNode], list[PlanNode]]:
    """The helpers directly below a node, chains of them included, and the first others below those."""
    helpers: list[PlanNode] = []
    others: list[PlanNode] = []
    for child in node.children:
        if child.node_type.removeprefix("Parallel ") in _HELPERS and child.subplan is None:
            more, below = _split(child)
            helpers += [child, *more]
            others += below
        else:
            others.append(child)
    return helpers, others


def _role(node: PlanNode) -> Role:
    for role, names in _ROLES:
        if any(name in node.node_type for name in names):
            return role
    return "other"


def _tables(node: PlanNode) -> frozenset[str]:
    """Of a Subquery Scan what it scans, where that has a name: one plan has such a node and another has none."""
    below = frozenset[str]().union(*(_tables(child) for child in node.children if child.subplan is None))
    if node.alias and not (node.node_type == "Subquery Scan" and below):
        return below | {node.alias}
    return below


def _own_reads(node: PlanNode) -> int:
    return max(0, node.shared_read_blocks - sum(child.shared_read_blocks for child in node.children))
