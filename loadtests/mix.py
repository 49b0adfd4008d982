"""What people do with a portfolio, how often, and to which cards: the weights of all load tests in one place."""

from __future__ import annotations

import bisect
import random
from itertools import accumulate

WEIGHTS = {
    "open card": 380,
    "browse list": 280,
    "filter list": 140,
    "search by typing": 100,
    "walk graph": 50,
    "read relationships": 39,
    "edit card": 10,
    "import batch": 1,
}

IMPORTED_CARDS = 5
"""Cards of a batch: an import is a seldom thing, but each makes the lists of its types and phases out of date."""

ZIPF_EXPONENT = 1.0
"""Popularity of the r-th card is 1 / r ** ZIPF_EXPONENT, as of pages in most web workloads (Breslau et al. 1999)."""

THINK_TIME_S = 0.04
"""Mean of the exponential pause after an answer: short, so that few users make a steady load."""


class Zipf:
    """Draws from a sequence, the earlier the more often."""

    def __init__(self, values: list[str], exponent: float = ZIPF_EXPONENT) -> None:
        self._values = values
        self._cumulative = list(accumulate(1 / rank**exponent for rank in range(1, len(values) + 1)))

    def draw(self, rng: random.Random) -> str:
        """One value."""
        at = bisect.bisect_left(self._cumulative, rng.random() * self._cumulative[-1])
        return self._values[min(at, len(self._values) - 1)]
