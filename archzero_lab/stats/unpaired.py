"""Two series of blocks that were not measured side by side: the shift between them, with its interval."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import ArrayLike

from archzero_lab.stats.estimates import Interval

MINIMUM_EACH = 4
"""Below four values in each no two-sided rank test at 5 % can reject (4 against 4: p = 2 / 70)."""


def shift(before: ArrayLike, after: ArrayLike, confidence: float = 0.95) -> Interval:
    """Median of all differences after - before, with the exact Mann-Whitney interval (Hodges-Lehmann, two samples).

    Assumes independent blocks and distributions that differ by a shift at most. It knows the noise within each series,
    not that between one run and the next: a margin has to stand for that. Hollander, Wolfe & Chicken, Nonparametric
    Statistical Methods, 3rd ed., 4.2 and 4.3. With fewer than MINIMUM_EACH values the interval is the whole line.
    Raises ValueError for an empty series.
    """
    first, second = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if not first.size or not second.size:
        raise ValueError("both series need a value")
    differences = np.sort((second[:, None] - first[None, :]).ravel())
    estimate = float(np.median(differences))
    k = _cut(first.size, second.size, confidence) if min(first.size, second.size) >= MINIMUM_EACH else 0
    if k < 1:
        return Interval(estimate, float("-inf"), float("inf"), "Mann-Whitney")
    return Interval(estimate, float(differences[k - 1]), float(differences[-k]), "Mann-Whitney")


def shape_changed(before: ArrayLike, after: ArrayLike, least_distance: float = 0.1) -> float | None:
    """The Kolmogorov-Smirnov distance of two samples of requests brought to one median, where it is large; else None.

    For a note, not for a verdict: requests of a block are not independent, so the distance itself must be large
    (`least_distance` of all requests), not only its p small.
    """
    first, second = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if min(first.size, second.size) < 100:
        return None
    test = scipy.stats.ks_2samp(first / np.median(first), second / np.median(second))
    return float(test.statistic) if test.statistic >= least_distance and test.pvalue < 0.001 else None


@lru_cache(maxsize=256)
def _cut(n: int, m: int, confidence: float) -> int:
    """The largest k with P(U <= k - 1) <= alpha / 2 under the null."""
    tail = (1 - confidence) / 2
    if n * m > 2_500:
        mean, sd = n * m / 2, np.sqrt(n * m * (n + m + 1) / 12)
        return int(np.floor(mean - scipy.stats.norm.ppf(1 - tail) * sd))
    # counts of U: the Gaussian binomial coefficient, by multiplying its factors (1 - q^(m+i)) / (1 - q^i)
    counts = np.zeros(n * m + 1)
    counts[0] = 1.0
    for i in range(1, n + 1):
        up = m + i
        counts[up:] -= counts[:-up].copy() if up <= n * m else 0
        for at in range(i, n * m + 1):
            counts[at] += counts[at - i]
    cumulative = np.cumsum(counts) / counts.sum()
    return int(np.searchsorted(cumulative, tail, side="right"))
