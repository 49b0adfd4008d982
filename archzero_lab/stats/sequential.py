"""Looking after every block without being fooled: an e-process for a mean over its noise, and its intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from archzero_lab.stats.estimates import MINIMUM_BLOCKS

DECIDED = 20.0
"""An e value of 1 / alpha: under the null it is ever reached with a chance of alpha = 5 % at most (Ville)."""


@dataclass(frozen=True)
class Course:
    """The e-process over blocks: `e` and the interval of the centre after each block, shape (blocks,)."""

    e: list[float]
    low: list[float]
    high: list[float]

    @property
    def decided_at(self) -> int | None:
        """The number of blocks after which it was first decided, None where it never was."""
        for index, value in enumerate(self.e):
            if value >= DECIDED and index + 1 >= MINIMUM_BLOCKS:
                return index + 1
        return None


def course(values: ArrayLike, null: float = 0.0, scale: float = 1.0) -> Course:
    """The mixture-t e-process that block values are centred on `null`, and the confidence sequence that belongs to it.

    A normal mixture over effect / noise with standard deviation `scale`, the noise unknown (right Haar prior): Wang &
    Ramdas, Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance, 2023 (after Lai,
    1976). Exact for normal blocks; for tails and stalls tests/unit/test_simulation.py holds its false alarms under
    peeking. `low` and `high` may be looked at after every block, unlike an ordinary interval.
    """
    x = np.asarray(values, dtype=float)
    precision = 1 / scale**2
    e, low, high = [], [], []
    for n in range(1, x.size + 1):
        seen = x[:n]
        centred = seen - null
        total, squares = float(centred.sum()), float((centred**2).sum())
        weight = n + precision
        if squares == 0:
            e.append(1.0)
        else:
            ratio = weight * squares / max(weight * squares - total**2, 1e-300)
            e.append(float(np.exp(0.5 * np.log(precision / weight) + n / 2 * np.log(ratio))))
        mean, spread = float(seen.mean()), float(((seen - seen.mean()) ** 2).sum())
        # every null whose e value is below DECIDED: a quadratic in (mean - null)
        bound = (DECIDED * np.sqrt(weight / precision)) ** (2 / n)
        share = 1 - 1 / bound
        width = n * n - n * weight * share
        half = float(np.sqrt(weight * spread * share / width)) if width > 0 else float("inf")
        low.append(mean - half)
        high.append(mean + half)
    return Course(e, low, high)


def blocks_needed(values: ArrayLike, distance: float, power_factor: float = 2.8) -> int:
    """About how many blocks of this noise tell a centre from a null `distance` away (80 % power, 5 % two-sided).

    (power_factor * sd / distance) squared; for a note that says how many more a run would take.
    """
    x = np.asarray(values, dtype=float)
    if x.size < 2 or distance == 0:
        return 0
    return max(MINIMUM_BLOCKS, int(np.ceil((power_factor * float(x.std(ddof=1)) / abs(distance)) ** 2)))
