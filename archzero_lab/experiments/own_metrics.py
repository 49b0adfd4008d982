"""What an experiment of one's own can be about: a value a slot, made of its calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archzero_lab.errors import SettingsError, unknown_name
from archzero_lab.experiments.metrics import EVENTS, FEWEST_EVENTS, QUANTILES
from archzero_lab.stats.comparison import Comparison
from archzero_lab.stats.estimates import REQUESTS_FOR
from archzero_lab.stats.verdict import Change, change

THROUGHPUT, OVER, ERRORS = "throughput", "share_over", "error_share"
METRICS = (*QUANTILES, "mean", THROUGHPUT, OVER, ERRORS)
_COLUMNS = {THROUGHPUT: "calls_a_second", OVER: "share", ERRORS: "share"}
_LEAST, _LEAST_OF_EVENTS = 10, 100


@dataclass(frozen=True)
class OwnMetric:
    """A metric by name. Times are in ms, throughput in calls a second, shares between 0 and 1.

    `over_ms`: what a call takes longer than that share_over counts. error_share counts the calls that raise.
    """

    name: str
    over_ms: float | None = None

    def __post_init__(self) -> None:
        """Raise UnknownNameError for an unknown name, SettingsError for a share of what is not said."""
        if self.name not in METRICS:
            raise unknown_name("metric", self.name, list(METRICS))
        if (self.name == OVER) != (self.over_ms is not None):
            raise SettingsError("metric='share_over' and over_ms=… belong together: the share that takes longer")

    @property
    def column(self) -> str:
        """What its value is called in a table, with the unit: ms, calls_a_second, share."""
        return _COLUMNS.get(self.name, "ms")

    @property
    def unit(self) -> str:
        """As metrics.in_unit takes it."""
        return {"calls_a_second": "1/s"}.get(self.column, self.column)

    @property
    def axis(self) -> str:
        """What a figure's axis is called."""
        return self.column.replace("_", " ")

    @property
    def quantile(self) -> float | None:
        """Of a metric that is one, 0 to 1."""
        return QUANTILES.get(self.name)

    @property
    def counts_errors(self) -> bool:
        """Whether a call may raise: that is what is counted then."""
        return self.name == ERRORS

    @property
    def calls_needed(self) -> int:
        """Calls a slot, at least."""
        if self.name in EVENTS:
            return _LEAST_OF_EVENTS
        return max(REQUESTS_FOR.get(self.quantile or 0.5, _LEAST), _LEAST)

    def value(self, seconds: Sequence[float], events: int) -> float:
        """Of a slot's calls, positive. A share of k in n is taken as (k + 0.5) / (n + 1) (Haldane 1956)."""
        if self.name in EVENTS:
            return (events + 0.5) / (len(seconds) + 1)
        if self.name == THROUGHPUT:
            return len(seconds) / sum(seconds)
        return float(np.mean(seconds) if self.quantile is None else np.quantile(seconds, self.quantile)) * 1000

    def events(self, seconds: Sequence[float], failed: int) -> int:
        """The calls that a share counts; 0 of other metrics."""
        if self.over_ms is not None:
            return sum(one * 1000 > self.over_ms for one in seconds)
        return failed if self.counts_errors else 0

    def too_few(self, events: int, calls: int) -> str:
        """What a share with hardly any event cannot tell, in words; "" where there are enough."""
        if self.name not in EVENTS or events >= FEWEST_EVENTS:
            return ""
        return f"needs at least {FEWEST_EVENTS} calls of that kind, had {events} of {calls:,}"

    def change(self, comparison: Comparison, margin: float) -> Change:
        """The verdict; of throughput more is better."""
        if self.name == THROUGHPUT:
            return change(1 / comparison.ci_high, 1 / comparison.ci_low, margin)
        return change(comparison.ci_low, comparison.ci_high, margin)
