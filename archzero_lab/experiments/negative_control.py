"""The negative control of a report: what no arm can touch, in the same blocks; where it moves, nothing is confirmed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from archzero_lab.experiments.claim_result import ClaimResult
from archzero_lab.stats.comparison import compare
from archzero_lab.stats.verdict import Verdict

MARGIN = 0.1
"""A control whose whole interval is beyond so much has moved."""


@dataclass(frozen=True)
class NegativeControl:
    """The time of a control on one arm over that on another, block by block, with its 95 % interval.

    `moved`: the interval lies beyond the margin, so that something else than what the arms differ in is at work.
    """

    control: str
    treatment: str
    what: str
    blocks: int
    ratio: float
    ci_low: float
    ci_high: float
    moved: bool

    def as_dict(self) -> dict[str, Any]:
        """As the summary keeps it; a bound that does not exist is null."""
        values = {name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in asdict(self).items()}  # fmt: skip
        return values | {"in_words": self.in_words}

    @property
    def in_words(self) -> str:
        """A sentence, without its end."""
        if not (math.isfinite(self.ci_low) and math.isfinite(self.ci_high)):
            return f"the negative control ({self.what}) has too few blocks to tell whether it moved ({self.blocks})"
        seen = f"{self.ratio:.2f} times ({self.ci_low:.2f} to {self.ci_high:.2f}, {self.blocks} blocks)"
        between = f"of {self.treatment} over {self.control}"
        if self.moved:
            return f"the negative control ({self.what}) moved: {between} {seen}, which neither can have done"
        return f"the negative control ({self.what}) did not move: {between} {seen}"


def negative_controls(
    results: Sequence[ClaimResult], controls: pd.DataFrame, margin: float = MARGIN
) -> list[NegativeControl]:
    """One for each pair of arms of the timed claims, over all of their blocks; none where nothing was measured."""
    pairs: dict[tuple[str, str], set[str]] = {}
    for result in results:
        if result.claim.timed:
            pairs.setdefault((result.claim.control, result.claim.treatment), set()).add(result.claim.id)
    made = []
    for (control, treatment), claims in pairs.items():
        mine = controls[controls["claim"].isin(list(claims)) & controls["arm"].isin([control, treatment])]
        table = mine.pivot_table(index=["claim", "block"], columns="arm", values="service_time_s", aggfunc="median")
        table = table.dropna()
        if len(table) and {control, treatment} <= set(table):
            seen = compare(table[control].tolist(), table[treatment].tolist())
            moved = seen.ci_low > 1 + margin or seen.ci_high < 1 / (1 + margin)
            what = str(mine["variant"].iloc[0])
            made.append(
                NegativeControl(
                    control, treatment, what, len(table), seen.effect_size, seen.ci_low, seen.ci_high, moved
                )
            )
    return made


def hold_back(results: Sequence[ClaimResult], controls: Sequence[NegativeControl]) -> list[ClaimResult]:
    """The results, of which none is confirmed where the control of its arms moved."""
    moved = {(one.control, one.treatment): one for one in controls if one.moved}
    made = []
    for result in results:
        one = moved.get((result.claim.control, result.claim.treatment))
        by_time = result.claim.timed or (result.claim.operations == "mix" and result.claim.rule == "improvement")
        if one is not None and by_time and result.verdict is Verdict.CONFIRMED:
            result = replace(result, verdict=Verdict.INCONCLUSIVE, warnings=(*result.warnings, one.in_words))
        made.append(result)
    return made
