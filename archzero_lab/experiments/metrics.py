"""What a claim of a gain can be about: a value a block and arm, made of its requests or of its slots."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from archzero_lab.experiments.claims import Claim

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
EVENTS = ("share_over", "error_share")
"""Metrics that count requests of some kind: none of them in a slot is no reason to say that there never is one."""

FEWEST_EVENTS = 10
_NO_TIME_MS = 1e-3
"""A slot that asked the database nothing took as good as no time of it, which has a logarithm."""


def by_block(metric: str, over_ms: float | None, samples: pd.DataFrame, slots: pd.DataFrame) -> pd.DataFrame:
    """A metric of one claim's requests, a row a block, an arm a column; every value is positive.

    Times are in ms (database_time: of statements, a request), throughput in requests a second, shares between 0 and 1.
    A share of k in n requests is taken as (k + 0.5) / (n + 1), so that its logarithm exists (Haldane, Ann. Hum. Genet.
    1956).
    """
    if metric == "throughput":
        placed = slots.set_index(["block", "arm"])
        return pd.DataFrame((placed["requests"] / placed["seconds"]).unstack("arm"))
    if metric == "database_time":
        placed = slots.set_index(["block", "arm"])
        return pd.DataFrame((placed["database_s"] / placed["requests"] * 1000).clip(lower=_NO_TIME_MS).unstack("arm"))
    if metric in EVENTS:
        marked = samples.assign(event=events(over_ms, samples)).groupby(["block", "arm"])["event"]
        return ((marked.sum() + 0.5) / (marked.size() + 1)).unstack("arm")
    times = samples.groupby(["block", "arm"])["service_time_s"]
    q = QUANTILES.get(metric)
    return ((times.quantile(q) if q is not None else times.mean()) * 1000).unstack("arm")


def events(over_ms: float | None, samples: pd.DataFrame) -> NDArray[np.bool_]:
    """Which requests count for a share: those over `over_ms`, or without one those that failed; shape (requests,)."""
    if over_ms is None:
        return ~samples["ok"].to_numpy(dtype=bool)
    over: NDArray[np.bool_] = samples["service_time_s"].to_numpy() * 1000 > over_ms
    return over


def log_ratios(claim: Claim, table: pd.DataFrame) -> NDArray[np.float64]:
    """log(treatment / control) of a table of `by_block`, shape (blocks,)."""
    ratios: NDArray[np.float64] = np.log(table[claim.treatment].to_numpy() / table[claim.control].to_numpy())
    return ratios


def threshold(claim: Claim) -> float:
    """The log-ratio that is just the claimed gain."""
    assert claim.claimed.improvement is not None
    return float(np.log1p(claim.claimed.improvement if claim.rises else -claim.claimed.improvement))


def in_unit(claim_unit: str, value: float) -> str:
    """A value as it is told: three digits and its unit; a share in per cent.

    >>> in_unit("ms", 0.12345), in_unit("share", 0.5), in_unit("1/s", 1234.5)
    ('0.123 ms', '50.0%', '1,234 a second')
    """
    if claim_unit == "share":
        return f"{value:.1%}"
    text = f"{value:.3g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return f"{text} a second" if claim_unit == "1/s" else f"{text} {claim_unit}"
