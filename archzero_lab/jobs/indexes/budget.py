"""How long an index experiment will take, and how many blocks of it fit into the time that somebody has."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.indexes.reads import Reads, slot_s
from archzero_lab.postgres.statement import Statement

LEAST_BLOCKS = 6
"""Below, an interval is from nothing to infinity."""
WRITE_S, _WRITES = 0.2, 4.5
"""Seconds of a write slot on two shared cores (its rows made, changed and taken back), and slots of an index and block:
what it costs an insert and an update, and what all of a table cost together."""
_SWITCH_S = 0.02
"""Of a slot: an index hidden, and the first run of a plan that nobody has made yet."""
_BUILDS = 0.05
"""The share of a budget in which indexes are built once more to see how long that takes."""
_UNITS = {"s": 1, "m": 60, "h": 3600}


class Budget:
    """The time that somebody has, from when it is made; 0 seconds say that it has no end."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._until = time.monotonic() + seconds if seconds else math.inf

    @property
    def left(self) -> float:
        """Seconds; none is less than none."""
        return max(self._until - time.monotonic(), 0.0)

    def blocks(self, wanted: int, seconds_a_block: float, share: float = 1.0) -> int:
        """The blocks asked for, or as many as fit into a share of what is left; the least that say anything anyway."""
        if not self.seconds:
            return wanted
        return max(min(wanted, int(self.left * share / seconds_a_block)), LEAST_BLOCKS)

    def builds_until(self) -> float:
        """Until how many seconds of building an index is built once more."""
        return self.seconds * _BUILDS if self.seconds else math.inf


def seconds_of(text: str) -> float:
    """90s, 5m or 1h as seconds. Raises SettingsError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if match is None:
        raise SettingsError(f"--budget {text}: give it as 90s, 5m or 1h")
    return float(match[1]) * _UNITS[match[2]]


class Done:
    """How much of what is to come is done, in seconds as they were estimated; less than all until it ends."""

    def __init__(self, whole: float, progress: Callable[[float], None]) -> None:
        self._whole, self._progress, self._done = whole, progress, 0.0

    def add(self, seconds: float) -> None:
        """Some of it."""
        self.come_to(self._done + seconds)

    def add_write(self) -> None:
        """A slot of the writes."""
        self.add(WRITE_S)

    def come_to(self, seconds: float) -> None:
        """As far as this, or farther where it is already."""
        self._done = max(self._done, seconds)
        self._progress(min(self._done / self._whole, 0.99) if self._whole else 0.99)


def cases_s(reads: Reads, times: Mapping[str, int]) -> dict[str, float]:
    """Seconds of a block by case: against all indexes, those to drop, each of the `times` that it uses alone and with
    what it has in its place.
    """
    return {case.name: (2 + 2 * times.get(case.name, 0)) * loss_s(reads, case) for case in reads.cases}


def loss_s(reads: Reads, case: Statement) -> float:
    """Seconds of a block of one comparison: a slot with an index and one without."""
    plan = reads.plans[case.name]
    return 2 * (slot_s((plan.planning_ms + plan.execution_ms) / 1000) + _SWITCH_S)


def writes_s(indexes: int) -> float:
    """Seconds of a block of all writes."""
    return indexes * _WRITES * WRITE_S


def too_dear(cases: Mapping[str, float], writes: float, seconds: float) -> list[str]:
    """The cases, the dearest first, without which the least blocks fit into so many seconds; one stays.

    `cases` and `writes` are seconds of a block.
    """
    room = seconds / LEAST_BLOCKS - writes
    gone: list[str] = []
    for name in sorted(cases, key=lambda name: -cases[name]):
        if sum(cases.values()) - sum(cases[one] for one in gone) <= room or len(gone) == len(cases) - 1:
            break
        gone.append(name)
    return gone


def in_words(cases: int, indexes: int, blocks: int, seconds_a_block: float, left: float) -> str:
    """What is to come, in a line; `left` of a budget, infinite without one."""
    whole = blocks * seconds_a_block
    took = f"{whole:.0f} s" if whole < 120 else f"{whole / 60:.0f} min"
    said = f"{cases} cases, {indexes} indexes, {blocks} blocks: about {took}"
    return f"{said}; more than the budget: {LEAST_BLOCKS} blocks are the least" if whole > 1.1 * left else said
