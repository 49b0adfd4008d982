"""Which arrival rate to try next: raised until one fails, then closed in on between the highest that held and it."""

from __future__ import annotations

PRECISION = 1.1
"""The search ends when the lowest failed rate is at most so many times the highest that held."""
LEAST_PER_S, MOST_PER_S = 10.0, 20_000.0
"""Below the least a trial would take minutes until its p99 means something."""


class Search:
    """Which rate to try next. `held` and `failed` are the highest that held and the lowest that did not.

    >>> search = Search(100.0)
    >>> while not search.over: search.learn(search.rate <= 230)
    >>> search.held <= 230 < search.failed <= 1.1 * search.held
    True
    """

    def __init__(self, start: float, raise_by: float = 1.6) -> None:
        self._raise_by = raise_by
        self.rate = min(max(start, LEAST_PER_S), MOST_PER_S)
        self.held: float | None = None
        self.failed: float | None = None
        self.over = False

    def learn(self, held: bool) -> None:
        """What came of the rate that was tried."""
        if held:
            self.held = self.rate
        else:
            self.failed = self.rate
        if self.failed is None:
            self.over = self.rate >= MOST_PER_S
            self.rate = min(self.rate * self._raise_by, MOST_PER_S)
        elif self.held is None:
            self.over = self.rate <= LEAST_PER_S
            self.rate = max(self.rate / self._raise_by**2, LEAST_PER_S)
        else:
            self.over = self.failed <= PRECISION * self.held
            self.rate = (self.held * self.failed) ** 0.5

    @property
    def estimate(self) -> float:
        """Between the two: their geometric mean; 0 where not even the least rate held."""
        if self.held is None:
            return 0.0
        return self.held if self.failed is None else (self.held * self.failed) ** 0.5
