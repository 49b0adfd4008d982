"""Shapes of plans that were seen of a statement, what each does, and whether the statement is fragile by them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import scipy

from archzero_lab.postgres.plans import Plan

TARGETS = (100, 10, 1000)
"""PostgreSQL's default, a tenth of it (the sample that a table ten times as large has), and ten times it."""
DEAR = 2.0
"""A plan is dear that does more than so many times what the best one does."""
_DEAR_BLOCKS = 100
"""And at least so much more: a few blocks are no outage."""
_ROW = 0.01
"""What a row costs of what a block does: PostgreSQL's cpu_tuple_cost beside its seq_page_cost."""
_ROBUST = 0.05
"""The most that the share of dear plans may be, by its interval, of a statement that is called robust."""
Shape = tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Work:
    """What one run of a plan did: shared blocks, and rows that went through its nodes. Both infinite: it did not end in
    20 s.
    """

    blocks: float
    rows: float = 0

    @property
    def cost(self) -> float:
        """Both together, in blocks."""
        return self.blocks + _ROW * self.rows

    @property
    def in_words(self) -> str:
        """Its blocks, and its rows where they are the most of it."""
        if not math.isfinite(self.blocks):
            return "what takes longer than 20 s"
        blocks = f"{self.blocks:,.0f} blocks"
        return f"{blocks} and {self.rows:,.0f} rows" if _ROW * self.rows > self.blocks else blocks


UNENDING = Work(math.inf, math.inf)


class Fragility(StrEnum):
    """What is said of a statement."""

    ROBUST = "robust"
    FRAGILE = "fragile"
    UNDECIDED = "undecided"


@dataclass
class Seen:
    """Plans of one case at one statistics target: how often each shape came, and what it does with each case's values.

    A case has its own values; the plan for any values has those of every case of its text. `target` None: as the rows
    were loaded, before any ANALYZE. Not `by_chance`: ANALYZE reads all rows, or none, so one plan is what there is.
    `best` is the cost of the best plan that was seen of each case, at any target, for its values or for any.
    """

    case: str
    target: int | None
    by_chance: bool = True
    shapes: Counter[Shape] = field(default_factory=Counter)
    work: dict[Shape, dict[str, Work]] = field(default_factory=dict)
    best: Mapping[str, float] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Times that statistics were made."""
        return self.shapes.total()

    @property
    def state(self) -> str:
        """What the statistics were, in words."""
        return "loaded, not analyzed" if self.target is None else f"target {self.target}"

    @property
    def dear(self) -> list[Shape]:
        """Shapes that do far more than the best plan for some case's values; ties of equal work are none."""
        return [shape for shape in self.shapes if self._is_dear(*self._worst(shape))]

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share of dear plans."""
        dear = sum(self.shapes[shape] for shape in self.dear)
        wilson = scipy.stats.binomtest(dear, max(self.number, 1)).proportion_ci(0.95, method="wilson")
        return float(wilson.low), float(wilson.high)

    @property
    def verdict(self) -> Fragility:
        """Fragile where a dear plan came, robust where none did and the interval says that hardly any will.

        Undecided where no plan ever ended: there is nothing to hold it against.
        """
        if self.dear:
            return Fragility.FRAGILE
        if all(not math.isfinite(one.cost) for works in self.work.values() for one in works.values()):
            return Fragility.UNDECIDED
        return Fragility.ROBUST if not self.by_chance or self.interval[1] <= _ROBUST else Fragility.UNDECIDED

    @property
    def in_words(self) -> str:
        """Each kind of plan by its work, the commonest first: "183 of 200 read 1,384 blocks, 17 read 52,110"."""
        dear = set(self.dear)
        usual = {shape: times for shape, times in self.shapes.items() if shape not in dear}
        words = []
        if usual:
            most = max((self._worst(shape)[0] for shape in usual), key=lambda work: work.cost)
            many = f"{sum(usual.values())} of {self.number} plans read at most" if self.by_chance else "reads"
            words.append(f"{many} {most.in_words}")
        for shape in sorted(dear, key=lambda one: -self.shapes[one]):
            work, best = self._worst(shape)
            many = f"{self.shapes[shape]} read" if self.by_chance else "reads"
            words.append(f"{many} {work.in_words} by {shape_in_words(shape)}")
            if not usual:
                words.append(f"another plan costs {work.cost / max(best, 1):,.0f} times less")
        return ", ".join(words)

    def _worst(self, shape: Shape) -> tuple[Work, float]:
        """What a plan does for the case's values for which it is the worst choice, and the best plan's cost there."""
        choices = [(work, min(self.best.get(case, math.inf), self._least(case)))
                   for case, work in self.work[shape].items()]  # fmt: skip
        return max(choices, key=lambda one: (self._is_dear(*one), one[0].cost - one[1] if math.isfinite(one[1]) else 0))

    def _least(self, case: str) -> float:
        return min(works[case].cost for works in self.work.values() if case in works)

    @staticmethod
    def _is_dear(work: Work, best: float) -> bool:
        return work.cost > max(best * DEAR, best + _DEAR_BLOCKS)


@dataclass(frozen=True)
class Cure:
    """A change that was tried on a fragile case, and what was seen with it."""

    statement: str
    seen: Seen


@dataclass(frozen=True)
class Found:
    """Of all cases at all targets what was seen; of each fragile case the cures tried; what could not be planned."""

    seen: list[Seen]
    cures: dict[str, list[Cure]]
    let_go: list[str]


def best_costs(seen: Iterable[Seen]) -> dict[str, float]:
    """The cost of the best plan of each case, over all that was seen."""
    best: dict[str, float] = {}
    for one in seen:
        for works in one.work.values():
            for case, work in works.items():
                best[case] = min(best.get(case, math.inf), work.cost)
    return best


def hold_together(seen: Sequence[Seen]) -> None:
    """Let each know the best plans of all: what is dear every time at one target is dear, too."""
    best = best_costs(seen)
    for one in seen:
        one.best = best


def shape_of_plan(plan: Plan) -> Shape:
    """The tree by what its nodes are and read, without estimates."""
    return tuple((node.depth, node.label) for node in plan.root.walk())


def work_of_plan(plan: Plan) -> Work:
    """What a plan that was run did."""
    rows = sum(node.loops * ((node.actual_rows or 0) + node.rows_removed) for node in plan.root.walk())
    return Work(plan.shared_blocks, rows)


def shape_in_words(shape: Shape) -> str:
    """What a plan reads and how, in a phrase."""
    reads = [label for _, label in shape if " on " in label or "using" in label]
    return "; ".join(reads or [shape[0][1]])


def worst_verdict(seen: Collection[Seen]) -> Fragility:
    """A statement's verdict: fragile where a case of it is at any target, undecided where one is."""
    verdicts = {one.verdict for one in seen}
    return next((one for one in (Fragility.FRAGILE, Fragility.UNDECIDED) if one in verdicts), Fragility.ROBUST)
