"""From intervals to verdicts: of a claim by one rule a kind, of a comparison by a margin."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What can be said of a claim."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


class Change(StrEnum):
    """What can be said of a comparison of two runs or arms, lower being better."""

    IMPROVED = "improved"
    REGRESSED = "regressed"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


def change(low: float, high: float, margin: float) -> Change:
    """A ratio after / before by its interval and a margin below which a difference is none (0.05: 5 %).

    Equivalent when the whole interval lies within the margin (two one-sided tests), a change when all of it lies
    beyond.

    >>> change(1.1, 1.3, 0.05).value, change(0.99, 1.02, 0.05).value, change(0.9, 1.2, 0.05).value
    ('regressed', 'equivalent', 'inconclusive')
    """
    if low > 1 + margin:
        return Change.REGRESSED
    if high < 1 / (1 + margin):
        return Change.IMPROVED
    if low >= 1 / (1 + margin) and high <= 1 + margin:
        return Change.EQUIVALENT
    return Change.INCONCLUSIVE


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
