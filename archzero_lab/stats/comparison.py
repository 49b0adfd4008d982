"""Two arms over paired blocks: the ratio of a metric with its interval, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from archzero_lab.stats.estimates import (
    MINIMUM_BLOCKS,
    REQUESTS_FOR,
    Interval,
    hodges_lehmann,
    least_detectable,
    paired_t,
)


@dataclass(frozen=True)
class Comparison:
    """Treatment against control. Effects are ratios treatment / control: 0.25 is four times as fast.

    `detectable` is the least improvement (share) that as many blocks of this noise would have told from none.
    `warnings` are part of the result: a comparison with one that says `undecidable` gives no verdict.
    """

    effect_size: float
    ci_low: float
    ci_high: float
    t_low: float
    t_high: float
    control: float
    treatment: float
    blocks: int
    samples: int
    detectable: float
    warnings: tuple[str, ...] = field(default=())
    undecidable: bool = False

    @property
    def improvement(self) -> float:
        """The share by which the treatment is lower: 0.975 is 97.5 % less."""
        return 1 - self.effect_size

    @property
    def improvement_low(self) -> float:
        """The lower end of the improvement's interval."""
        return 1 - self.ci_high

    @property
    def improvement_high(self) -> float:
        """The upper end of the improvement's interval."""
        return 1 - self.ci_low


def compare(
    control: Sequence[float],
    treatment: Sequence[float],
    *,
    quantile: float | None = None,
    requests_a_slot: int | None = None,
    samples: int = 0,
) -> Comparison:
    """Compare a metric (a positive number a block and arm, same length) over paired blocks.

    The statistic of a block is log(treatment / control); Hodges-Lehmann and its signed-rank interval over the
    blocks, the paired t interval beside it. `quantile` and `requests_a_slot` let it say when a slot was too small
    for the quantile. Raises ValueError where lengths differ or a value is not positive.
    """
    before, after = np.asarray(control, dtype=float), np.asarray(treatment, dtype=float)
    if before.shape != after.shape or before.size == 0:
        raise ValueError("both arms need the same number of blocks, at least one")
    if not (np.all(before > 0) and np.all(after > 0)):
        raise ValueError("a ratio needs positive values in every block")
    ratios = np.log(after / before)
    estimate, t = hodges_lehmann(ratios), paired_t(ratios)
    warnings = []
    undecidable = False
    if ratios.size < MINIMUM_BLOCKS:
        undecidable = True
        warnings.append(f"needs at least {MINIMUM_BLOCKS} blocks, had {ratios.size}")
    if quantile is not None and requests_a_slot is not None:
        needed = REQUESTS_FOR[quantile]
        if requests_a_slot < needed:
            undecidable = True
            warnings.append(f"p{quantile * 100:g} needs {needed:,} requests a slot, had {requests_a_slot:,}")
    if not undecidable and disagree(estimate, t):
        warnings.append(
            "the signed-rank and the t interval disagree on whether there is a difference: skewed block noise"
        )
    return Comparison(
        effect_size=float(np.exp(estimate.estimate)),
        ci_low=float(np.exp(estimate.low)),
        ci_high=float(np.exp(estimate.high)),
        t_low=float(np.exp(t.low)),
        t_high=float(np.exp(t.high)),
        control=float(np.median(before)),
        treatment=float(np.median(after)),
        blocks=int(ratios.size),
        samples=samples,
        detectable=float(1 - np.exp(-least_detectable(ratios))),
        warnings=tuple(warnings),
        undecidable=undecidable,
    )


def over_starts(comparison: Comparison, starts: Sequence[Sequence[float]]) -> Comparison:
    """The comparison with an interval that also holds what each start came to by itself.

    `starts`: of each start its blocks' log-ratios. What two processes of the same code differ by for as long as they
    live is in every block of a start, and no interval over blocks knows of it. So a difference is one that every start
    shows: for identical code all of them have to err the same way.
    """
    own = [float(np.exp(hodges_lehmann(ratios).estimate)) for ratios in starts]
    return replace(comparison, ci_low=min(comparison.ci_low, *own), ci_high=max(comparison.ci_high, *own))


def disagree(first: Interval, second: Interval) -> bool:
    """Whether one interval of log-ratios holds 0 (no difference) and the other does not."""
    return (first.low <= 0 <= first.high) != (second.low <= 0 <= second.high)
