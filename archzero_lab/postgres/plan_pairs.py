"""Which step of one plan does the work of which step of another plan of the same query, whatever either looks like.

Scans first, by what they read and which rows of it they ask for. PostgreSQL numbers repeated aliases, InitPlans and
partitions in the order of the plan, so these numbers say nothing: what the paired scans are called in the second plan
is read as what they are called in the first, and so are their subplans. Then what stands above them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from archzero_lab.postgres.plan_steps import Step

_NUMBER = re.compile(r"_\d+$")
_QUALIFIER = re.compile(r'\b(?:\w+|"[^"]+")\.(?=["\w*])')
_LITERAL = re.compile(r"'[^']*'|\b\d+(?:\.\d+)?\b|\$\d+|\b(?:true|false|IS (?:NOT )?NULL)\b|^\(?(?:NOT )?\w+\)?$")
_ALIKE = 0.5
_WITHIN, _BESIDE, _ROWS_ASKED, _NAME = 10.0, 5.0, 3.0, 2.0
"""What speaks for a pair of scans of one table: the same subplan, the same other scans in the same query of those that
lie in one another, the same conditions, and least the same alias."""


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
        # not the label: it has the alias, whose number is PostgreSQL's
        kinds = [(step.node.node_type, step.node.relation, step.indexes) for step in (one, other)]
        if kinds[0] != kinds[1]:
            return True
        return abs(self.blocks) > max(2, 0.1 * one.blocks) or far_apart(one.rows, other.rows)


def far_apart(one: float | None, other: float | None) -> bool:
    """Whether two numbers of rows differ by more than a tenth."""
    if one is None or other is None:
        return one is not other
    return abs(one - other) > max(1.0, 0.1 * max(one, other))


def pair_steps(before: list[Step], after: list[Step]) -> list[Pair]:
    """Every step of both plans, in a pair or alone: each list parent first, as `steps` gives it."""
    scans = _pair_scans(before, after)
    names = {two.node.alias or "": one.node.alias or "" for one, two in scans}
    kept = {one.node.alias for one in before}
    places: dict[str, Counter[str]] = {}
    for one, two in scans:
        places.setdefault(two.within, Counter())[one.within] += 1
    within = {name: found.most_common(1)[0][0] for name, found in places.items()}
    theirs = {
        id(step): (
            # one that has no partner is not what bears its name in the first plan
            frozenset(names.get(name, name + " (new)" if name in kept else name) for name in step.tables),
            within.get(step.within, step.within),
        )
        for step in after
    }
    theirs |= {id(step): (step.tables, step.within) for step in before}
    matching = _Above(before, after, theirs)
    pairs = [Pair(one, two) for one, two in scans + matching.pairs]
    paired = {id(step) for one, two in scans + matching.pairs for step in (one, two)}
    pairs += [Pair(step, None) for step in before if id(step) not in paired]
    return pairs + [Pair(None, step) for step in after if id(step) not in paired]


def _pair_scans(before: list[Step], after: list[Step]) -> list[tuple[Step, Step]]:
    """The likeliest first; equally likely ones in the order in which they stand."""
    candidates = []
    beside, beside_after = _beside(before), _beside(after)
    for at, one in enumerate(before):
        for place, two in enumerate(after):
            if one.role == two.role == "scan" and _read_alike(one, two):
                likelihood = (
                    _WITHIN * (one.within == two.within)
                    + _BESIDE * _jaccard(beside[at], beside_after[place])
                    + _ROWS_ASKED * _jaccard(_asked(one), _asked(two))
                    + _NAME * (one.node.alias == two.node.alias)
                )
                candidates.append((-likelihood, abs(at - place), at, place))
    left, right, pairs = set(range(len(before))), set(range(len(after))), []
    for _, _, at, place in sorted(candidates):
        if at in left and place in right:
            left.remove(at)
            right.remove(place)
            pairs.append((before[at], after[place]))
    return pairs


def _beside(steps: list[Step]) -> list[frozenset[Hashable]]:
    """Of each scan what else is scanned in its query, and for which rows; of other steps nothing."""
    levels: dict[int, list[Step]] = {}
    for step in steps:
        if step.role == "scan":
            levels.setdefault(step.level, []).append(step)
    return [
        frozenset((other.node.relation, _asked(other)) for other in levels.get(step.level, ()) if other is not step)
        if step.role == "scan"
        else frozenset()
        for step in steps
    ]


def _read_alike(one: Step, two: Step) -> bool:
    """The same table under the same alias but for PostgreSQL's number, which the user's own alias may look like."""
    a, b = one.node, two.node
    if a.relation != b.relation or ("WorkTable" in a.node_type) != ("WorkTable" in b.node_type):
        return False
    if a.alias == b.alias:
        return True
    return _NUMBER.sub("", a.alias or "") == _NUMBER.sub("", b.alias or "")


def _asked(step: Step) -> frozenset[str]:
    """Its conditions with a constant: those that compare with another table move to and fro between the plans."""
    parts = re.split(r"; (?=[A-Z][a-z]+ )| AND ", step.node.condition or "")
    plain = (_QUALIFIER.sub("", re.sub(r"^[A-Z][a-z]+ (?:Cond|Filter): |^Filter: ", "", part)) for part in parts)
    return frozenset(part.strip("() ") for part in plain if _LITERAL.search(part))


class _Above:
    """Pairs what stands above the scans. `known` has each step's tables and subplan in the first plan's words."""

    def __init__(self, before: list[Step], after: list[Step], known: dict[int, tuple[frozenset[str], str]]) -> None:
        self._known = known
        self._left = [step for step in before if step.role != "scan"]
        self._right = [step for step in after if step.role != "scan"]
        self.pairs: list[tuple[Step, Step]] = []
        self._levels = [self._by_level(before), self._by_level(after)]
        self._in_turn(self._place, evenly=True)
        self._in_turn(lambda step: (self._place(step), _keys(step), step.node_type), evenly=False)
        self._in_turn(lambda step: (self._place(step), _keys(step)), evenly=False)
        self._in_turn(self._place, evenly=True)
        self._in_turn(lambda step: (self._place(step), step.node_type), evenly=False)
        self._in_turn(self._place, evenly=False)
        self._likeliest()

    def _by_level(self, steps: list[Step]) -> dict[int, frozenset[str]]:
        """What is scanned in each query of those that lie in one another, in the first plan's words."""
        levels: dict[int, frozenset[str]] = {}
        for step in steps:
            if step.role == "scan":
                levels[step.level] = levels.get(step.level, frozenset()) | self._known[id(step)][0]
        return levels

    def _place(self, step: Step) -> Hashable:
        tables, within = self._known[id(step)]
        return _kind(step), tables, within

    def _in_turn(self, signature: Callable[[Step], Hashable], *, evenly: bool) -> None:
        """Pair those of one signature from the top down; `evenly`: only where both plans have as many."""
        for group in dict.fromkeys(map(signature, self._left)):
            ours = [step for step in self._left if signature(step) == group]
            theirs = [step for step in self._right if signature(step) == group]
            if not evenly or len(ours) == len(theirs):
                for one, two in zip(ours, theirs, strict=False):
                    if _keys_alike(one, two):
                        self._take(one, two)

    def _likeliest(self) -> None:
        """What is left, by the share of tables that both have; a join of other tables is another join."""
        candidates = []
        for at, one in enumerate(self._left):
            for place, two in enumerate(self._right):
                (tables, within), (others, place_within) = self._known[id(one)], self._known[id(two)]
                alike = _jaccard(tables, others)
                if one.role == "sort":  # it may have moved below a join, and serves whom it served
                    same = self._levels[0].get(one.level) == self._levels[1].get(two.level)
                    fits = same and _keys(one) == _keys(two) and (tables <= others or others <= tables)
                else:
                    fits = one.role != "join" and _keys_alike(one, two) and alike >= _ALIKE
                if within == place_within and _kind(one) == _kind(two) and fits:
                    candidates.append((-alike, one.node_type != two.node_type, at, place, one, two))
        for *_, one, two in sorted(candidates, key=lambda found: found[:4]):
            if one in self._left and two in self._right:
                self._take(one, two)

    def _take(self, one: Step, two: Step) -> None:
        self.pairs.append((one, two))
        self._left.remove(one)
        self._right.remove(two)


def _kind(step: Step) -> str:
    return "window" if step.node_type == "WindowAgg" else step.role


def _keys(step: Step) -> tuple[str, ...]:
    keys = (_QUALIFIER.sub("", key).strip("()") for key in step.node.keys)
    return tuple(keys) if step.role == "sort" else tuple(sorted(keys))


def _keys_alike(one: Step, two: Step) -> bool:
    """A sort by something else is another sort, one may order by more than the other; so with groups.

    What one plan names, the other may spell out: `(count(*))` is a subquery's `n`.
    """
    mine, yours = _keys(one), _keys(two)
    if one.role == "sort":
        mine, yours = mine[: len(yours) or None], yours[: len(mine) or None]
    elif one.role != "aggregate":
        return True
    if not mine or not yours or mine == yours:
        return True
    return len(mine) == len(yours) and all(
        a == b or (("(" in a) != ("(" in b) or ("(" in a and "(" in b and one.role == "sort"))
        for a, b in zip(mine, yours, strict=True)
    )


def _jaccard(one: frozenset[Any], other: frozenset[Any]) -> float:
    both = one | other
    return len(one & other) / len(both) if both else 1.0
