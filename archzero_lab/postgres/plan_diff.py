"""Two plans of one query: nodes paired by what they do, and what changed said in a line each, the biggest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from archzero_lab.postgres.plans import Plan, PlanNode

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
_ALIKE = 0.5


@dataclass(frozen=True)
class Step:
    """A node with its helpers folded in. `aliases` are all tables below, rows and times are totals over loops."""

    label: str
    role: Role
    aliases: frozenset[str]
    subplan: str | None
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


@dataclass(frozen=True)
class Pair:
    """A step before and after; None on the side where there is none."""

    before: Step | None
    after: Step | None

    @property
    def ms(self) -> float:
        """By how much its own time changed."""
        return (self.after.ms if self.after else 0.0) - (self.before.ms if self.before else 0.0)

    @property
    def blocks(self) -> int:
        """By how many blocks."""
        return (self.after.blocks if self.after else 0) - (self.before.blocks if self.before else 0)

    @property
    def changed(self) -> bool:
        """Whether it does something else than before, or reads another amount: time alone is noise."""
        if self.before is None or self.after is None:
            return True
        one, other = self.before, self.after
        if (one.label, one.indexes) != (other.label, other.indexes):
            return True
        return abs(self.blocks) > max(2, 0.1 * one.blocks) or _far(one.rows, other.rows)


@dataclass(frozen=True)
class PlanDiff:
    """Two plans beside each other. `pairs` are in the order of what they changed of the whole's time."""

    before: Plan
    after: Plan
    pairs: tuple[Pair, ...]

    @property
    def whole(self) -> str:
        """What became of the statement as a whole, in a line."""
        one, other = self.before, self.after
        ratio = other.execution_ms / one.execution_ms if one.execution_ms else 1.0
        said = f"{1 - ratio:.1%} less" if ratio <= 1 else f"{ratio - 1:.1%} more"
        return (
            f"{one.execution_ms:.3g} → {other.execution_ms:.3g} ms ({said}), "
            f"{one.shared_blocks:,} → {other.shared_blocks:,} blocks"
        )

    def lines(self) -> list[str]:
        """What changed, a line a step, the biggest first; nothing where the plans do the same."""
        total = self.after.execution_ms - self.before.execution_ms
        return [_line(pair, total) for pair in self.pairs if pair.changed]

    def __repr__(self) -> str:
        return "\n".join([self.whole, *(f"  {line}" for line in self.lines())])


def diff_plans(before: Plan, after: Plan) -> PlanDiff:
    """Pair the nodes of two plans of one query, never by position: two plans need not have one shape.

    Scans by alias and subplan; what is above them by role and equal set of aliases, then the likeliest set (Jaccard, at
    least a half), then by the same kind of node; what remains was added or removed.
    """
    left, right = list(steps(before.root)), list(steps(after.root))
    pairs: list[Pair] = []

    def match(how: Callable[[Step, Step], float]) -> None:
        for one in list(left):
            scored = [(how(one, other), -place) for place, other in enumerate(right)]
            best = max(scored, default=(0.0, 0))
            if best[0] > 0:
                pairs.append(Pair(one, right.pop(-best[1])))
                left.remove(one)

    match(lambda a, b: float(a.role == b.role == "scan" and (a.aliases, a.subplan) == (b.aliases, b.subplan)))
    match(lambda a, b: float(_above(a, b) and a.aliases == b.aliases and a.node_type == b.node_type))
    match(lambda a, b: float(_above(a, b) and a.aliases == b.aliases))
    match(lambda a, b: score if _above(a, b) and (score := _jaccard(a.aliases, b.aliases)) >= _ALIKE else 0.0)
    match(lambda a, b: float(a.role != "scan" and a.node_type == b.node_type))
    pairs += [Pair(one, None) for one in left] + [Pair(None, other) for other in right]
    pairs.sort(key=lambda pair: (-abs(pair.ms), -abs(pair.blocks)))
    return PlanDiff(before, after, tuple(pairs))


def steps(root: PlanNode) -> Iterator[Step]:
    """The nodes of a plan with their helpers folded into them, a parent before its children."""
    helpers, others = _split(root)
    folded = [root, *helpers]
    indexes = tuple(dict.fromkeys(node.index for node in folded if node.index))
    suffix = f" using {', '.join(indexes)}" if indexes and not root.index else ""
    yield Step(
        label=root.label + suffix,
        role=_role(root),
        aliases=frozenset(_aliases(root)),
        subplan=root.subplan,
        indexes=indexes,
        rows=None if root.actual_rows is None else root.actual_rows * root.loops,
        planned_rows=root.plan_rows,
        rows_removed=root.rows_removed * root.loops,
        ms=sum(node.exclusive_ms for node in folded),
        blocks=sum(node.exclusive_blocks for node in folded),
        read_blocks=sum(_own_reads(node) for node in folded),
        node=root,
    )
    for child in others:
        yield from steps(child)


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


def _aliases(node: PlanNode) -> Iterator[str]:
    for below in node.walk():
        if below.alias:
            yield below.alias


def _own_reads(node: PlanNode) -> int:
    return max(0, node.shared_read_blocks - sum(child.shared_read_blocks for child in node.children))


def _above(one: Step, other: Step) -> bool:
    return one.role == other.role != "scan" and one.subplan == other.subplan


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    both = one | other
    return len(one & other) / len(both) if both else 0.0


def _far(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > max(1.0, 0.1 * max(one, other))


def _line(pair: Pair, total_ms: float) -> str:
    one, other = pair.before, pair.after
    if one is None or other is None:
        step = one or other
        assert step is not None
        what = ("gone: " if other is None else "new: ") + step.label
        parts = [what, f"{step.blocks:,} blocks", f"{step.ms:.3g} ms"]
    else:
        parts = [one.label if one.label == other.label else f"{one.label} → {other.label}"]
        for name, was, now in (
            ("rows", one.rows, other.rows),
            ("rows looked at in vain", one.rows_removed, other.rows_removed),
            ("estimated", one.planned_rows, other.planned_rows),
        ):
            if was is not None and now is not None and _far(was, now):
                parts.append(f"{name} {was:,.0f} → {now:,.0f}")
        if one.blocks != other.blocks:
            parts.append(f"blocks {one.blocks:,} → {other.blocks:,}")
        if one.read_blocks or other.read_blocks:
            parts.append(f"of them from outside shared buffers {one.read_blocks:,} → {other.read_blocks:,}")
        parts.append(f"{one.ms:.3g} → {other.ms:.3g} ms")
    share = pair.ms / total_ms if total_ms else 0.0
    if share >= 0.05:
        parts.append(f"{min(share, 1.0):.0%} of the whole's {'gain' if total_ms < 0 else 'loss'}")
    return "; ".join(parts)
