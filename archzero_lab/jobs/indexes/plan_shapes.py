"""Shapes of plans that were seen of a statement, what each reads, and whether the statement is fragile by them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from scipy import stats

from archzero_lab.postgres.plans import Plan

TARGETS = (100, 10)
"""PostgreSQL's default, and a tenth of the sample: what a table ten times as large has at the default."""
DEAR = 2.0
"""A plan is dear that reads more than so many times what the best one does."""
_DEAR_BLOCKS = 100
"""And at least so much more: a few blocks are no outage."""
_ROBUST = 0.05
"""The most that the share of dear plans may be, by its interval, of a statement that is called robust."""
Shape = tuple[tuple[int, str], ...]


class Fragility(StrEnum):
    """What is said of a statement."""

    ROBUST = "robust"
    FRAGILE = "fragile"
    UNDECIDED = "undecided"


@dataclass
class Seen:
    """Plans of one case at one statistics target: how often each shape came, and the blocks that it reads.

    Blocks are infinite of a plan that did not end in 20 s.
    """

    case: str
    target: int
    shapes: Counter[Shape] = field(default_factory=Counter)
    blocks: dict[Shape, float] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Times that statistics were made."""
        return self.shapes.total()

    @property
    def least(self) -> float:
        """Blocks of the best plan that was seen."""
        return min(self.blocks.values(), default=math.nan)

    @property
    def dear(self) -> list[Shape]:
        """Shapes that read far more than the best; ties of equal work are none."""
        most = max(self.least * DEAR, self.least + _DEAR_BLOCKS)
        return [shape for shape in self.shapes if self.blocks[shape] > most]

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share of dear plans."""
        dear = sum(self.shapes[shape] for shape in self.dear)
        wilson = stats.binomtest(dear, max(self.number, 1)).proportion_ci(0.95, method="wilson")
        return float(wilson.low), float(wilson.high)

    @property
    def verdict(self) -> Fragility:
        """Fragile where a dear plan came, robust where none did and the interval says that hardly any will."""
        if self.dear:
            return Fragility.FRAGILE
        return Fragility.ROBUST if self.interval[1] <= _ROBUST else Fragility.UNDECIDED

    @property
    def in_words(self) -> str:
        """Each kind of plan by its work, the commonest first: "183 of 200 read 1,384 blocks, 17 read 52,110"."""
        dear = set(self.dear)
        words = []
        usual = {shape: count for shape, count in self.shapes.items() if shape not in dear}
        if usual:
            words.append(
                f"{sum(usual.values())} of {self.number} plans read at most {_count(self._most(usual))} blocks"
            )
        words += [
            f"{self.shapes[shape]} read {_count(self.blocks[shape])} by {shape_in_words(shape)}"
            for shape in sorted(dear, key=lambda one: -self.shapes[one])
        ]
        return ", ".join(words)

    def _most(self, shapes: Collection[Shape]) -> float:
        return max(self.blocks[shape] for shape in shapes)


@dataclass(frozen=True)
class Cure:
    """A change of statistics that was tried on a fragile case, and what was seen with it."""

    statement: str
    seen: Seen


@dataclass(frozen=True)
class Found:
    """Of all cases at all targets what was seen; of each fragile case the cures tried; what could not be planned."""

    seen: list[Seen]
    cures: dict[str, list[Cure]]
    let_go: list[str]


def shape_of_plan(plan: Plan) -> Shape:
    """The tree by what its nodes are and read, without estimates."""
    return tuple((node.depth, node.label) for node in plan.root.walk())


def shape_in_words(shape: Shape) -> str:
    """What a plan reads and how, in a phrase."""
    reads = [label for _, label in shape if " on " in label or "using" in label]
    return "; ".join(reads or [shape[0][1]])


def _count(blocks: float) -> str:
    return f"{blocks:,.0f}" if math.isfinite(blocks) else "what takes longer than 20 s"
