"""Laws of growth: by which power of a size something grows, in a word, and at which size it meets a limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

_LEAST_OF_A_LAW = 3
_FINDING = 100
"""A limit that is met at so many times the largest size is a finding: beyond, nobody knows."""
_NOT_KNOWN = 1.0
_CONSTANT, _LOGARITHMIC, _SLOW = 0.03, 0.25, 0.5
_FAR = 1e12


@dataclass(frozen=True)
class Law:
    """How the blocks of a request, or what else is counted, grow: as rows ** `exponent` (its 95 % interval), in a word.

    Rows are those of the largest table that its plans read. `limit_at` is their number at which the request reads as
    much as the limit, None where it does not within 10 ** 12 rows or no law is known. `turned` are the sizes between
    which the plan of a statement became another: the law is of those after the last. `statements`: how often a request
    sends that which it sends most, at each size: more often at more rows is a query in a loop. `rows` are those read.
    """

    kind: str
    sizes: tuple[int, ...]
    blocks: tuple[float, ...]
    exponent: float
    low: float
    high: float
    word: str
    limit_at: float | None
    turned: tuple[str, ...] = ()
    statements: tuple[float, ...] = ()
    rows: tuple[int, ...] = ()

    @property
    def in_a_loop(self) -> bool:
        """Whether more rows take more statements."""
        more = bool(self.statements) and self.statements[-1] > 1
        return more and self.statements[-1] > max(self.statements[0] * 1.2, self.statements[0] + 0.5)

    @property
    def finding(self) -> bool:
        """Whether it meets the limit at a size that is to be thought of, or sends more statements for more rows."""
        return self.in_a_loop or (
            self.limit_at is not None and self.limit_at <= _FINDING * max(self.rows or self.sizes)
        )


def fit(kind: str, rows: Sequence[int], blocks: Sequence[float], limit: float = math.inf) -> Law:
    """The exponent by least squares over the logarithms, its interval by Student's t; the word that it stands for.

    Of fewer than three different sizes nothing is known.

    >>> fit("scan", [1_000, 10_000, 100_000, 1_000_000], [10, 100, 1_000, 10_000], 50_000).word
    'linear'
    """
    if len(set(rows)) < _LEAST_OF_A_LAW:
        return Law(kind, tuple(rows), tuple(blocks), math.nan, math.nan, math.nan, "not known", None)
    x, y = np.log(np.array(rows, float)), np.log(np.maximum(np.array(blocks, float), 1.0))
    line = scipy.stats.linregress(x, y)
    half = float(np.nan_to_num(scipy.stats.t.ppf(0.975, len(rows) - 2) * line.stderr))  # nan where all are the same
    exponent = float(line.slope)
    low, high = exponent - half, exponent + half
    word = _word(exponent, low, high)
    limit_at = None
    if exponent > _LOGARITHMIC and math.isfinite(limit) and word != "not known":
        reached = (math.log(limit) - float(y[-1])) / exponent + float(x[-1])
        limit_at = math.exp(reached) if reached < math.log(_FAR) else None
    return Law(kind, tuple(rows), tuple(blocks), exponent, low, high, word, limit_at)


def _word(exponent: float, low: float, high: float) -> str:
    if high - low > _NOT_KNOWN:
        return "not known"
    if exponent < _CONSTANT:
        return "constant" if high < _LOGARITHMIC else "not known"
    if high < _SLOW:
        return "logarithmic" if exponent < _LOGARITHMIC else "slower than linear"
    if low > 1.2:
        return "worse than linear"
    if low <= 1 <= high or exponent > 0.85:
        return "linear"
    return "slower than linear"
