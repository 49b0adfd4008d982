"""Many verdicts at once: Holm's adjustment, so that a report of many claims is not wrong more often than one claim."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in the order given: those below alpha hold with a family-wise error of at most alpha.

    Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 1979. No assumption on how the
    tests depend on each other.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return [round(float(value), 12) for value in adjusted]


def signed_rank_p(values: ArrayLike, null: float = 0.0) -> float:
    """Two-sided p of the signed-rank test that block values, shape (blocks,), are centred on `null`.

    Exact without ties, as scipy decides. Values equal to `null` throughout give 1.
    """
    shifted = np.asarray(values, dtype=float) - null
    if not np.any(shifted):
        return 1.0
    return float(scipy.stats.wilcoxon(shifted, method="auto").pvalue)
