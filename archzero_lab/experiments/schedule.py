"""The order of things: seeded, every block a slot of each arm, in random order within the block."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Slot:
    """One arm's turn in one block; `order` is its place in the block, from 0."""

    block: int
    order: int
    arm: str


def schedule(arms: Sequence[str], blocks: int, seed: int) -> list[Slot]:
    """Slots of all blocks. Random order within a block makes a drift fall on every arm alike.

    >>> [slot.arm for slot in schedule(["control", "treatment"], 2, seed=1)]
    ['treatment', 'control', 'treatment', 'control']
    """
    rng = random.Random(f"schedule {seed}")
    slots = []
    for block in range(blocks):
        order = list(arms)
        rng.shuffle(order)
        slots += [Slot(block, place, arm) for place, arm in enumerate(order)]
    return slots
