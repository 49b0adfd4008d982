"""What each node of a plan took itself: times and blocks that add up to the whole, whoever read a CTE or an InitPlan.

EXPLAIN tells inclusive figures and draws CTEs and InitPlans as children of the node that they are attached to, while
they run inside whichever node first asks for their rows: its figures contain theirs. So they are not taken off the node
above them, but off those who read them; where several read one, off the first in the plan's order that has so much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Entry = dict[str, Any]
_ROUNDED = 0.01
"""By how much two of EXPLAIN's times that are the same can differ: of the time, and in ms."""


@dataclass
class Cost:
    """One node's: inclusive, own, and the number of processes that ran it side by side."""

    ms: float
    blocks: int
    processes: float
    own_ms: float = 0.0
    own_blocks: float = 0.0


@dataclass
class PlanCosts:
    """The costs of all nodes. `outside_ms` and `outside_blocks` are those of changes in CTEs that nobody read to their
    end: PostgreSQL runs them after the root is done, so the root's figures do not contain them."""

    costs: dict[int, Cost] = field(default_factory=dict)
    outside_ms: float = 0.0
    outside_blocks: float = 0.0

    def of(self, entry: Entry) -> Cost:
        """A node's."""
        return self.costs[id(entry)]


def plan_costs(root: Entry) -> PlanCosts:
    """The costs of EXPLAIN's tree (FORMAT JSON; of a plan that was not run all are 0).

    Times below a Gather are divided by the processes that ran: what it took, not what it cost.
    """
    costs = PlanCosts()
    _count(root, 1.0, costs)
    borrowed: list[tuple[Entry, Entry, list[Entry]]] = []
    for entry in walk(root):
        mine = costs.of(entry)
        mine.own_ms, mine.own_blocks = mine.ms, mine.blocks
        for child in entry.get("Plans", ()):
            readers = _readers(entry, child)
            if readers or _is_cte(child):
                borrowed.append((entry, child, readers))
            else:
                mine.own_ms -= costs.of(child).ms
                mine.own_blocks -= costs.of(child).blocks
    # InitPlans first: what read a CTE inside one of them has then been told from who ran that
    for entry, child, readers in sorted(borrowed, key=lambda one: _is_cte(one[1])):
        left_ms, left_blocks = _take_off(costs, child, readers)
        if child["Node Type"] == "ModifyTable":  # run whether it is read or not, what nobody read after the root
            costs.outside_ms += left_ms
            costs.outside_blocks += left_blocks
        else:
            costs.of(entry).own_ms -= left_ms
            costs.of(entry).own_blocks -= left_blocks
    return costs


def walk(entry: Entry) -> Iterator[Entry]:
    """A node and all below it."""
    yield entry
    for child in entry.get("Plans", ()):
        yield from walk(child)


def _count(entry: Entry, processes: float, costs: PlanCosts) -> None:
    loops = float(entry.get("Actual Loops", 1))
    ms = float(entry.get("Actual Total Time", 0.0)) * loops / processes
    blocks = int(entry.get("Shared Hit Blocks", 0)) + int(entry.get("Shared Read Blocks", 0))
    costs.costs[id(entry)] = Cost(ms, blocks, processes)
    for child in entry.get("Plans", ()):
        below = processes
        if str(entry["Node Type"]).startswith("Gather") and child.get("Parent Relationship", "Outer") == "Outer":
            # the leader may take part or not: who ran it shows in its loops
            below = max(float(child.get("Actual Loops", 1)) / max(loops, 1.0), 1.0)
        _count(child, below, costs)


def _readers(above: Entry, child: Entry) -> list[Entry]:
    """Who may run a subplan that is drawn below a node, the likeliest first; nobody where the node itself does."""
    name = str(child.get("Subplan Name", ""))
    if child.get("Parent Relationship") != "InitPlan":
        return []
    inside = {id(entry) for entry in walk(child)}
    others = [entry for entry in walk(above) if id(entry) not in inside]
    if _is_cte(child):
        return [entry for entry in others if entry["Node Type"] == "CTE Scan" and entry.get("CTE Name") == name[4:]]
    names = _references(name)
    if named := [_leader_of(above, entry) for entry in others if _mentions(entry, names)]:
        return named
    # what a node puts out is not shown: then it is one that has so much, rather of the tree itself than of a subplan
    return [*_without_subplans(above), *others]


def _without_subplans(entry: Entry) -> Iterator[Entry]:
    yield entry
    for child in entry.get("Plans", ()):
        if child.get("Parent Relationship") != "InitPlan":
            yield from _without_subplans(child)


def _is_cte(entry: Entry) -> bool:
    return str(entry.get("Subplan Name", "")).startswith("CTE ")


def _leader_of(above: Entry, entry: Entry) -> Entry:
    """The Gather between two nodes, which works out what its workers need before they start; else the node itself."""
    for node in walk(above):
        if str(node["Node Type"]).startswith("Gather") and any(entry is one for one in walk(node)):
            return node
    return entry


def _references(name: str) -> set[str]:
    """How expressions name what an InitPlan gives: $0 (to PostgreSQL 16), (InitPlan 1).col1 (from 17)."""
    returned = re.search(r"returns (.*)\)", name)
    if returned:
        return {one.strip() for one in returned[1].split(",")}
    return {name, f"({name})"}


def _mentions(entry: Entry, names: set[str]) -> bool:
    texts = [value for key, value in entry.items() if key != "Plans" and isinstance(value, str | list)]
    text = " ".join(value if isinstance(value, str) else " ".join(map(str, value)) for value in texts)
    return any(re.search(re.escape(one) + r"(?!\d)", text) for one in names)


def _take_off(costs: PlanCosts, child: Entry, readers: Sequence[Entry]) -> tuple[float, float]:
    """Take a subplan's costs off its readers, one that has all of it if there is one; what is left over."""
    left_ms, left_blocks = costs.of(child).ms, float(costs.of(child).blocks)
    # times are rounded, blocks are not: a microsecond must not make it another's
    least_ms = left_ms * (1 - _ROUNDED) - _ROUNDED
    enough = [one for one in readers if costs.of(one).own_ms >= least_ms and costs.of(one).own_blocks >= left_blocks]
    for reader in enough[:1] or readers:
        cost = costs.of(reader)
        ms, blocks = min(max(cost.own_ms, 0.0), left_ms), min(max(cost.own_blocks, 0.0), left_blocks)
        cost.own_ms -= ms
        cost.own_blocks -= blocks
        left_ms -= ms
        left_blocks -= blocks
    return left_ms, left_blocks
