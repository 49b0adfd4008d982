"""How the plans of one statement differ between two counts, in words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from archzero_lab.jobs.work.counted import CountedStatement, most_common, plan_mark


def told_plans(was: CountedStatement, now: CountedStatement) -> list[str]:
    """What of the plans is another: that run most often node by node, then rarer ones, then that for any values."""
    before = {plan_mark(shape): times for shape, times in was.plans.items()}
    after = {plan_mark(shape): times for shape, times in now.plans.items()}
    if before != after and was.plans and now.plans:
        one, other = most_common(was.plans), most_common(now.plans)
        if plan_mark(one) != plan_mark(other):
            return [_turned(one, other)]
        return [f"by values: {_shares(before)} became {_shares(after)}"]
    if was.generic != now.generic and was.plans:
        return ["the plan for any values is another"]
    return []


def _shares(plans: Mapping[str, int]) -> str:
    return ", ".join(f"{times} by {mark}" for mark, times in sorted(plans.items()))


def _turned(one: str, other: str) -> str:
    """Nodes that are gone and nodes that came, without what did not change."""
    gone, came = [], []
    for line in difflib.ndiff(one.splitlines(), other.splitlines()):
        if line.startswith("- "):
            gone.append(line[2:].strip())
        elif line.startswith("+ "):
            came.append(line[2:].strip())
    moved = [node for node in gone if node in came]  # the same at another depth
    for node in moved:
        gone.remove(node)
        came.remove(node)
    if not gone and not came:
        return "the same nodes in another order"
    return f"{', '.join(gone) or 'nothing'} became {', '.join(came) or 'nothing'}"
