"""How long an index experiment will take, and how many blocks of it fit into the time that somebody has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.indexes.reads import Reads, slot_s
from archzero_lab.postgres.statement import Statement

LEAST_BLOCKS = 6
"""Below, an interval is from nothing to infinity."""
_WRITE_S, _WRITES = 0.025, 3.5
"""Seconds of a write slot on two shared cores, and the slots of an index and block."""
_SWITCH_S = 0.002
_UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(text: str) -> float:
    """90s, 5m or 1h as seconds. Raises SettingsError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if match is None:
        raise SettingsError(f"--budget {text}: give it as 90s, 5m or 1h")
    return float(match[1]) * _UNITS[match[2]]


def block_s(reads: Reads, used: Mapping[str, Sequence[Statement]], indexes: int) -> float:
    """The seconds of one block: each case against all indexes, those to drop and each that it uses, and the writes."""
    return sum(_cases_s(reads, used).values()) + indexes * _WRITES * _WRITE_S


def too_dear(reads: Reads, used: Mapping[str, Sequence[Statement]], indexes: int, budget_s: float) -> list[str]:
    """The cases, the dearest first, without which the least blocks fit into a budget; none without one."""
    costs = _cases_s(reads, used)
    left = budget_s / LEAST_BLOCKS - indexes * _WRITES * _WRITE_S
    gone: list[str] = []
    for name in sorted(costs, key=lambda name: -costs[name]):
        if not budget_s or sum(costs.values()) - sum(costs[one] for one in gone) <= left or len(gone) == len(costs) - 1:
            break
        gone.append(name)
    return gone


def _cases_s(reads: Reads, used: Mapping[str, Sequence[Statement]]) -> dict[str, float]:
    """The seconds of a block by case."""
    times = Counter(case.name for cases in used.values() for case in cases)
    return {case.name: (2 + times[case.name]) * 2 * (slot_s(_once_s(reads, case)) + _SWITCH_S) for case in reads.cases}


def _once_s(reads: Reads, case: Statement) -> float:
    plan = reads.plans[case.name]
    return (plan.planning_ms + plan.execution_ms) / 1000


def fitting_blocks(blocks: int, seconds_a_block: float, budget_s: float) -> int:
    """The blocks asked for, or as many as fit; the least that say anything in any case."""
    return max(min(blocks, int(budget_s / seconds_a_block)), LEAST_BLOCKS) if budget_s else blocks


def in_words(cases: int, indexes: int, blocks: int, seconds_a_block: float, budget_s: float) -> str:
    """What is to come, in a line."""
    whole = blocks * seconds_a_block
    took = f"{whole:.0f} s" if whole < 120 else f"{whole / 60:.0f} min"
    said = f"{cases} cases, {indexes} indexes, {blocks} blocks: about {took}"
    return f"{said}; more than the budget: its writes alone are" if budget_s and whole > 1.1 * budget_s else said
