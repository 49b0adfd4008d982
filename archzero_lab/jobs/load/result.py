"""What Locust's result files come to: the JSON of a load, its frames, and a capacity over rounds with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from archzero_lab.errors import mask_secrets
from archzero_lab.run_folders.finding import newest_load
from archzero_lab.stats.estimates import MINIMUM_BLOCKS, hodges_lehmann

LEAST_PER_S = 10.0
"""The least rate that a search tries."""


@dataclass(frozen=True)
class Capacity:
    """The highest arrival rate that held its target, by rounds of closing in on it.

    Hodges-Lehmann over the logarithms of the rounds' rates with its signed-rank interval, `method` says so; where the
    target was missed in every round at LEAST_PER_S already, the rate is 0 and its interval ends there.
    """

    rate_per_s: float
    ci_low: float | None
    ci_high: float | None
    rounds: tuple[float, ...]
    method: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rate_per_s": self.rate_per_s,
            "ci_low": self.ci_low,
            "ci_high": self.ci_high,
            "rounds": list(self.rounds),
            "method": self.method,
        }


def capacity_of(rates: Sequence[float]) -> Capacity:
    """The capacity of rounds' rates, 0 for a round in which no rate held. Raises ValueError of no round."""
    if not rates:
        raise ValueError("no round")
    array = np.asarray(rates, dtype=float)
    rounds = tuple(float(rate) for rate in array)
    if not array.any():
        return Capacity(0.0, 0.0, LEAST_PER_S, rounds, "missed at the least rate in every round")
    # a round without any counts as half the least rate: below what was tried, and it has a logarithm
    estimate = hodges_lehmann(np.log(np.maximum(array, LEAST_PER_S / 2)))
    if array.size < MINIMUM_BLOCKS:
        reason = f"no interval: needs at least {MINIMUM_BLOCKS} rounds, had {array.size}"
        return Capacity(float(np.exp(estimate.estimate)), None, None, rounds, reason)
    low, high = float(np.exp(estimate.low)), float(np.exp(estimate.high))
    return Capacity(float(np.exp(estimate.estimate)), low, high, rounds, "Hodges-Lehmann, signed rank")


def rate_in_words(rate_per_s: float) -> str:
    """A capacity in words: what lies below the least rate that is tried is not known any better.

    >>> rate_in_words(139.4), rate_in_words(5.0), rate_in_words(0.0)
    ('139/s', 'under 10/s', 'under 10/s')
    """
    return f"{rate_per_s:.0f}/s" if rate_per_s >= LEAST_PER_S else f"under {LEAST_PER_S:.0f}/s"


def time_in_words(seconds: float | None) -> str:
    """A time in words, three digits of it.

    >>> time_in_words(0.00214), time_in_words(1.2), time_in_words(None)
    ('2.14 ms', '1,200 ms', 'none')
    """
    if seconds is None:
        return "none"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds * 1000:,.0f} ms"


def answer_of(arms: Sequence[dict[str, Any]]) -> str:
    """What each arm of a load answered, in a sentence, and how their p99 compare with the first one's."""
    said = []
    for entry in arms:
        times, offered = entry["response_time_s"], entry["offered_rate_per_s"]
        offered_text = f" ({offered:.0f} offered)" if offered else ""
        said.append(
            f"{entry['arm']}: {entry['achieved_rate_per_s']:.0f} answers a second{offered_text}, p50"
            f" {time_in_words(times['p50'])}, p99 {time_in_words(times['p99'])}"
        )
    first, *others = arms
    for entry in others:
        its, firsts = entry["response_time_s"]["p99"], first["response_time_s"]["p99"]
        if its and firsts:
            said.append(f"{entry['arm']}'s p99 is {_beside(its, firsts)} {first['arm']}'s")
    return "; ".join(said)


def _beside(its: float, firsts: float) -> str:
    if firsts >= 2 * its:
        return f"1/{firsts / its:.0f} of"
    return f"{its / firsts:.3g} times" if its >= 2 * firsts else f"{its / firsts:.0%} of"


@dataclass(frozen=True)
class KnownCapacity:
    """A capacity that was measured on its own, as a report shows it beside its claims."""

    run_id: str
    commit: str
    target_p99_ms: float
    arms: list[dict[str, Any]]
    trials: pd.DataFrame


def known_capacity(size: int, machine: str) -> KnownCapacity | None:
    """The newest one of this machine at this number of rows; None before there is one."""
    run = newest_load(capacity=True, size=size, machine=machine)
    if run is None:
        return None
    loads = run.loads
    return KnownCapacity(
        loads["run_id"], str(loads["git_commit"])[:7], loads["request"]["target_p99_ms"], loads["arms"], run.load_trials
    )


def seconds_frame(arm: str, result: dict[str, Any]) -> pd.DataFrame:
    """A row a second: arm, t_s, warm_up, offered, done, failed, dropped, times in s, hit rates, statements, pool."""
    frame = pd.DataFrame(result["by_second"])
    if frame.empty:
        return frame
    if result["service"]:
        service = pd.DataFrame(result["service"]).drop(columns="by_kind", errors="ignore")
        service["t_s"] = (service.pop("at") - result["began"]).astype(int)
        frame = frame.merge(service.drop_duplicates("t_s"), on="t_s", how="left")
    frame.insert(0, "arm", arm)
    frame.insert(1, "at", frame["t_s"] + result["began"])
    frame.insert(2, "warm_up", frame["t_s"] < result["warm_up_s"])
    return frame


def trials_frame(arm: str, results: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row a trial of a capacity's rounds: arm, round (0: not analysed), rates, p50_s, p99_s, shares, held."""
    rows = []
    for number, result in enumerate(results):
        for trial in result["trials"]:
            times = trial["response_time_s"]
            rows.append(
                {
                    "arm": arm,
                    "round": number,
                    "rate_per_s": trial["rate_per_s"],
                    "achieved_rate_per_s": trial["achieved_rate_per_s"],
                    "requests": trial["requests"],
                    "p50_s": times["p50"],
                    "p99_s": times["p99"],
                    "slow_share": trial["slow_share"],
                    "error_share": trial["error_share"],
                    "held": trial["held"],
                    "generator_in_the_way": trial["generator_in_the_way"],
                }
            )
    return pd.DataFrame(rows)


def load_entry(arm: str, result: dict[str, Any], capacity: Capacity | None) -> dict[str, Any]:
    """A load as `--json` writes it."""
    kept = (
        "workload", "shape", "offered_rate_per_s", "achieved_rate_per_s", "requests", "failures", "dropped",
        "response_time_s", "service_time_s", "lateness_s", "valid", "reasons",
    )  # fmt: skip
    return {
        "host": mask_secrets(result["host"]),
        "arm": arm,
        **{name: result[name] for name in kept},
        "capacity": None if capacity is None else capacity.as_dict(),
    }


def capacity_entry(arm: str, rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A capacity as `--json` writes it: the last round's load, with the capacity of all of them but the first.

    Not valid where in more than a tenth of the rounds Locust was late or busy at the rate that failed: then the limit
    that was found may be its own.
    """
    analysed = rounds[1:] or rounds
    entry = load_entry(arm, rounds[-1], capacity_of([result["capacity"]["rate_per_s"] for result in analysed]))
    in_the_way = [number for number, result in enumerate(rounds) if result["capacity"]["generator_in_the_way"]]
    blamed = [number for number in in_the_way if rounds[number] in analysed]
    reasons = [f"round {number}: {reason}" for number, result in enumerate(rounds) for reason in result["reasons"]]
    return entry | {"valid": entry["valid"] and len(blamed) <= 0.1 * len(analysed), "reasons": reasons}
