"""Point estimates and intervals over blocks: Hodges-Lehmann with its exact signed-rank interval, and paired t."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

MINIMUM_BLOCKS = 6
"""Below six pairs no two-sided test at 5 % can reject: the least p of the signed-rank test is 2 / 2**n."""

REQUESTS_FOR = {0.5: 10, 0.95: 200, 0.99: 3_000}
"""Requests a slot from which a quantile's block noise is tolerable (p99: its log has a sd of 0.03 to 0.07)."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, in the unit of the values it was made of. `method` names the rule."""

    estimate: float
    low: float
    high: float
    method: str


def quantile(values: ArrayLike, q: float) -> float:
    """The q-quantile of samples, linearly interpolated; nan of none.

    >>> quantile([1.0, 2.0, 3.0], 0.5)
    2.0
    """
    array = np.asarray(values, dtype=float)
    return float(np.quantile(array, q)) if array.size else float("nan")


def hodges_lehmann(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Median of the Walsh averages of block values, shape (blocks,), with the exact signed-rank interval.

    Assumes independent blocks whose noise is symmetric, which random order of the arms within a block makes so
    for log-ratios. Hollander, Wolfe & Chicken, Nonparametric Statistical Methods, 3rd ed., 3.2 and 3.3.
    Below MINIMUM_BLOCKS the interval is the whole line: nothing can be said. Raises ValueError for no value.
    """
    array = np.asarray(values, dtype=float)
    n = array.size
    if n == 0:
        raise ValueError("no block value")
    walsh = np.sort(((array[:, None] + array[None, :]) / 2)[np.triu_indices(n)])
    estimate = float(np.median(walsh))
    k = _signed_rank_cut(n, confidence)
    if k < 1:
        return Interval(estimate, float("-inf"), float("inf"), "signed rank")
    return Interval(estimate, float(walsh[k - 1]), float(walsh[-k]), "signed rank")


def paired_t(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of block values with Student's interval; assumes their mean is near normal. One value: the whole line."""
    array = np.asarray(values, dtype=float)
    mean = float(array.mean())
    if array.size < 2:
        return Interval(mean, float("-inf"), float("inf"), "t")
    half = float(scipy.stats.t.ppf(0.5 + confidence / 2, array.size - 1) * array.std(ddof=1) / np.sqrt(array.size))
    return Interval(mean, mean - half, mean + half, "t")


def least_detectable(values: ArrayLike, power: float = 0.8, alpha: float = 0.05) -> float:
    """The least shift of block values that as many blocks as these would have told from none with `power`.

    (t(1 - alpha/2) + t(power)) * sd / sqrt(n); infinite below MINIMUM_BLOCKS.
    """
    array = np.asarray(values, dtype=float)
    n = array.size
    if n < MINIMUM_BLOCKS:
        return float("inf")
    factor = scipy.stats.t.ppf(1 - alpha / 2, n - 1) + scipy.stats.t.ppf(power, n - 1)
    return float(factor * array.std(ddof=1) / np.sqrt(n))


@lru_cache(maxsize=256)
def _signed_rank_cut(n: int, confidence: float) -> int:
    """The largest k with P(W <= k - 1) <= alpha / 2 under the null; the interval is (W(k), W(M + 1 - k))."""
    if n > 300:
        mean = n * (n + 1) / 4
        sd = np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return int(np.floor(mean - scipy.stats.norm.ppf(0.5 + confidence / 2) * sd))
    cumulative = np.cumsum(_signed_rank_pmf(n))
    return int(np.searchsorted(cumulative, (1 - confidence) / 2, side="right"))


def _signed_rank_pmf(n: int) -> NDArray[np.float64]:
    """P(W = w) for w = 0..n(n+1)/2: each rank is in the sum or not, with equal chance."""
    pmf = np.zeros(n * (n + 1) // 2 + 1)
    pmf[0] = 1.0
    for rank in range(1, n + 1):
        shifted = np.zeros_like(pmf)
        shifted[rank:] = pmf[:-rank]
        pmf = (pmf + shifted) / 2
    return pmf
