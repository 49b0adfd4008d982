"""Times in buckets of equal relative width: small, mergeable, any quantile within half a per cent.

DDSketch (Masson, Rim & Lee, PVLDB 2019) without its bound on the number of buckets: a nanosecond and an hour are 2,900
buckets apart.
"""

from __future__ import annotations

import math

ACCURACY = 0.005
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)
_LEAST_S = 1e-6


class Sketch:
    """Counts of times in seconds. Locust's own percentiles are of times rounded to 1, 10 or 100 ms."""

    __slots__ = ("buckets", "count", "maximum")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.maximum = 0.0

    def add(self, seconds: float) -> None:
        """Count one time."""
        at = math.ceil(math.log(max(seconds, _LEAST_S)) / _LOG_GAMMA)
        self.buckets[at] = self.buckets.get(at, 0) + 1
        self.count += 1
        self.maximum = max(self.maximum, seconds)

    def merge(self, other: Sketch) -> None:
        """Add what another has counted: the same as if this one had seen it all."""
        for at, number in other.buckets.items():
            self.buckets[at] = self.buckets.get(at, 0) + number
        self.count += other.count
        self.maximum = max(self.maximum, other.maximum)

    def quantile(self, q: float) -> float | None:
        """The q-quantile in seconds, within ACCURACY of it; None of nothing."""
        if not self.count:
            return None
        rank, seen = q * (self.count - 1), 0
        for at in sorted(self.buckets):
            seen += self.buckets[at]
            if seen > rank:
                return min(2 * _GAMMA**at / (_GAMMA + 1), self.maximum)
        return self.maximum

    def over(self, seconds: float) -> int:
        """How many times were longer, within ACCURACY of the limit."""
        limit = math.log(max(seconds, _LEAST_S)) / _LOG_GAMMA
        return sum(number for at, number in self.buckets.items() if at > limit)

    def summary(self) -> dict[str, float | None]:
        """p50, p95, p99 and max in seconds."""
        quantiles = {name: self.quantile(q) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
        return {**quantiles, "max": self.maximum if self.count else None}

    def encode(self) -> list[object]:
        """As it travels from a worker to the master."""
        return [self.count, self.maximum, list(self.buckets.items())]

    @classmethod
    def decode(cls, encoded: list[object]) -> Sketch:
        """What `encode` made."""
        made = cls()
        made.count, made.maximum = encoded[0], encoded[1]  # type: ignore[assignment]
        made.buckets = {int(at): int(number) for at, number in encoded[2]}  # type: ignore[attr-defined]
        return made
