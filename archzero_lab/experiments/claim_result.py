"""What is said of one claim, as the report keeps it, and Holm's adjustment over all that one report says."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np

from archzero_lab.experiments.claims import Claim
from archzero_lab.stats.multiple import holm
from archzero_lab.stats.sequential import Course
from archzero_lab.stats.verdict import Verdict


@dataclass(frozen=True)
class Beside:
    """A third arm: its value in the claim's unit, and as a share of the treatment's with its 95 % interval.

    The interval is None where the value was counted or the blocks are too few for one, the share of what is a number
    of failures.
    """

    arm: str
    value: float
    to_treatment: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class ClaimResult:
    """What is said of one claim. `before` and `after` are in the claim's unit, improvements are shares.

    `after_low` and `after_high` bound `after`. `p` is of the signed-rank test that the value lies just at the claim
    (None where it was counted), `p_adjusted` after Holm over the report. `course` is there where blocks were added
    until it was decided: then the interval is its confidence sequence, which may be looked at after every block.
    `beside` is what a third arm came to, which the verdict does not regard. `counted` says that there is no interval:
    the value was counted, not sampled.
    """

    claim: Claim
    before: float
    after: float
    after_low: float
    after_high: float
    improvement: float
    ci_low: float
    ci_high: float
    blocks: int
    samples: int
    detectable: float | None
    target_met: bool | None
    mechanism: dict[str, Any]
    verdict: Verdict
    note: str
    warnings: tuple[str, ...] = ()
    p: float | None = None
    p_adjusted: float | None = None
    course: Course | None = None
    beside: Beside | None = None
    counted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The claim's entry in summary.json; numbers that do not exist (an unbounded interval) are null."""
        return {
            "id": self.claim.id,
            "title": self.claim.title,
            "sentence": self.claim.sentence,
            "section": self.claim.section,
            "arms": {"control": self.claim.control, "treatment": self.claim.treatment},
            "operations": self.claim.operations,
            "counter": self.claim.mechanism,
            "rule": self.claim.rule,
            "metric": self.claim.metric,
            "unit": self.claim.unit,
            "over_ms": self.claim.over_ms,
            "claimed": {
                "before": self.claim.claimed.before,
                "after": self.claim.claimed.after,
                "improvement": self.claim.claimed.improvement,
                "unit": self.claim.claimed.unit,
            },
            "measured": {
                "before": _finite(self.before),
                "after": _finite(self.after),
                "after_ci_low": _finite(self.after_low),
                "after_ci_high": _finite(self.after_high),
                "improvement": _finite(self.improvement),
                "ci_low": _finite(self.ci_low),
                "ci_high": _finite(self.ci_high),
                "blocks": self.blocks,
                "samples": self.samples,
                "detectable": _finite(self.detectable),
                "p": self.p,
                "p_adjusted": self.p_adjusted,
                "counted": self.counted,
            },
            "course": None
            if self.course is None
            else {
                "e": self.course.e,
                **_course_of_gain(self.claim, self.course),
            },
            "beside": None if self.beside is None else asdict(self.beside),
            "target_met": self.target_met,
            "mechanism": self.mechanism,
            "verdict": self.verdict.value,
            "note": self.note,
            "warnings": list(self.warnings),
        }


def adjust(results: list[ClaimResult], alpha: float = 0.05) -> list[ClaimResult]:
    """The results of one report with Holm's adjustment: a verdict that does not outlive it becomes inconclusive.

    Claims that were counted, and those decided block by block, whose e value has its own error, are not tests of it.
    """
    tested = [index for index, result in enumerate(results) if result.p is not None and result.course is None]
    adjusted = holm([cast("float", results[index].p) for index in tested])
    made = list(results)
    for index, p in zip(tested, adjusted, strict=True):
        result = replace(made[index], p_adjusted=p)
        if p >= alpha and result.verdict is not Verdict.INCONCLUSIVE:
            beside = f"{len(tested) - 1} other{'s' if len(tested) > 2 else ''}"
            warning = f"{result.verdict} alone, but not beside {beside} (Holm: p = {p:.3f})"
            result = replace(result, verdict=Verdict.INCONCLUSIVE, warnings=(*result.warnings, warning))
        made[index] = result
    return made


def _course_of_gain(claim: Claim, course: Course) -> dict[str, list[float | None]]:
    """The confidence sequence as gains: of a time what it fell by, of a throughput what it rose by."""
    low, high = ([float(np.exp(value)) for value in bound] for bound in (course.low, course.high))
    if claim.rises:
        return {"ci_low": [_finite(v - 1) for v in low], "ci_high": [_finite(v - 1) for v in high]}
    return {"ci_low": [_finite(1 - v) for v in high], "ci_high": [_finite(1 - v) for v in low]}


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
