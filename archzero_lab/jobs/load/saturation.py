"""Whether a load was more than its arm could carry: response times that climb while it runs."""

from __future__ import annotations

import pandas as pd
import scipy

from archzero_lab.jobs.load.result import time_in_words

STEADY = ("constant", "soak")
"""Shapes that ask for the same all through: only there is a climb the arm's own."""
_LEAST_S = 6
_TWICE, _CHANCE = 2.0, 0.01


def saturation(seconds: pd.DataFrame, shape: str, workload: str) -> str | None:
    """A sentence where the median response time climbed through a steady load; else None.

    `seconds` are a load's as result.seconds_frame makes them. It climbed where the median of the last third of the
    analysed seconds is at least twice that of the first and they rise one after another: Kendall's tau (1938), one
    sided, p below 0.01.
    """
    if shape not in STEADY or seconds.empty:
        return None
    medians = seconds.loc[~seconds["warm_up"], "response_p50_s"].astype(float).dropna().to_numpy()
    if medians.size < _LEAST_S:
        return None
    third = medians.size // 3
    first, last = float(pd.Series(medians[:third]).median()), float(pd.Series(medians[-third:]).median())
    rising = scipy.stats.kendalltau(range(medians.size), medians, alternative="greater")
    if last < _TWICE * first or not rising.pvalue < _CHANCE:
        return None
    why = "requests queued up" if workload == "open" else "each answer took longer than the one before"
    return (
        f"saturated: the median response time climbed from {time_in_words(first)} to {time_in_words(last)}; {why},"
        " and a longer load would show longer times"
    )
