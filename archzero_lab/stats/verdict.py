"""From intervals to verdicts: confirmed, refuted or inconclusive, by one rule a kind of claim."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What can be said of a claim."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


def at_least(claimed: float, low: float, high: float) -> Verdict:
    """A claim that a value is at least `claimed`: confirmed when the whole interval is, refuted when none of it is.

    >>> at_least(0.90, 0.92, 0.95).value, at_least(0.90, 0.5, 0.6).value, at_least(0.90, 0.8, 0.95).value
    ('confirmed', 'refuted', 'inconclusive')
    """
    if low >= claimed:
        return Verdict.CONFIRMED
    if high < claimed:
        return Verdict.REFUTED
    return Verdict.INCONCLUSIVE


def at_most(claimed: float, low: float, high: float) -> Verdict:
    """A claim that a value is at most `claimed`, as at_least turned round."""
    return at_least(-claimed, -high, -low)
