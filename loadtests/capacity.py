"""The highest arrival rate at which a service holds its target: raised until it fails, then closed in on."""

from __future__ import annotations

import math
import time
from typing import Any

import gevent
import pace
from locust.runners import MasterRunner
from recorder import RECORDER
from results import generator_reasons, reasons_of
from search import Search

ERROR_SHARE = 0.001
SLOW_SHARE = 0.01
"""p99 is within the target where at most one request of a hundred is slower."""
_SETTLE_S, _TRIAL_S = 1.0, 4.0
_ENOUGH = 300
"""Requests of a trial at least: a p99 of fewer is a matter of luck."""
_DRAIN_S = 15.0
_FILLS_BELOW, _BETTER = 0.5, 0.8
"""Where half of the requests and more are slow, that is no cache that fills; a fifth fewer than before is better."""
_WORKERS_LAG_S, _OWN_LAG_S = 1.5, 0.1
"""After a second is over, so long until all is known of it: workers tell theirs once a second."""


def find(environment: Any, start: float, target_s: float, raise_by: float, *, fills: bool = False) -> None:
    """Search until it is over, keeping every trial in the recorder; then end the run.

    `fills`: a search that does not count, before those that do. There a rate that failed is tried again for as long as
    that goes better: a cache fills. Else an arm with an empty one is found to hold nothing, and never gets a full one.
    """
    search = Search(start, raise_by)
    in_the_way = False
    slow = _FILLS_BELOW
    while not search.over:
        trial = _try(environment.runner, search.rate, target_s)
        RECORDER.trials.append(trial)
        if fills and not trial["held"] and SLOW_SHARE < trial["slow_share"] <= slow * _BETTER:
            slow = trial["slow_share"]
            continue
        slow = _FILLS_BELOW
        if not trial["held"]:
            in_the_way = trial["generator_in_the_way"]  # of the lowest rate that failed: each is lower than the last
            if trial["reasons"]:
                RECORDER.notes.append(f"at {search.rate:.0f}/s {'; '.join(trial['reasons'])}")
        search.learn(trial["held"])
    RECORDER.capacity = {
        "rate_per_s": search.estimate, "held_per_s": search.held, "failed_per_s": search.failed,
        "generator_in_the_way": in_the_way,
    }  # fmt: skip
    pace.CURRENT.finished = True


def _try(runner: Any, rate: float, target_s: float) -> dict[str, Any]:
    pace.change(runner, shape="held", rate=rate, duration_s=float("inf"), processes=pace.processes(runner))
    lag_s = _lag_s(runner)
    gevent.sleep(_SETTLE_S)
    began = pace.CURRENT.origin + math.ceil(time.time() - pace.CURRENT.origin)
    long_enough = math.ceil(max(_TRIAL_S, _ENOUGH / rate))
    while (now := time.time()) < began + long_enough + lag_s + target_s:
        gevent.sleep(0.25)
        so_far = RECORDER.window(began, now - lag_s - target_s)
        # beyond what a whole trial may have, the rest of it would only make the queue longer
        if so_far.times["response"].over(target_s) > SLOW_SHARE * 2 * rate * long_enough:
            break
    found = RECORDER.window(began, began + long_enough)
    whole_s = min(long_enough, max(time.time() - began, 1.0))
    counts = found.counts
    unanswered = counts["offered"] - counts["dropped"] - counts["done"]
    slow = found.times["response"].over(target_s) + unanswered + counts["dropped"]
    errors = counts["failed"] + counts["dropped"]
    offered = max(counts["offered"], 1)
    held = slow <= SLOW_SHARE * offered and errors <= ERROR_SHARE * offered and counts["done"] > 0
    told = {
        "rate_per_s": rate,
        "achieved_rate_per_s": counts["done"] / whole_s,
        "requests": counts["done"],
        "response_time_s": found.times["response"].summary(),
        "slow_share": slow / offered,
        "error_share": errors / offered,
        "held": held,
        "reasons": reasons_of(found, "open"),
        "generator_in_the_way": bool(generator_reasons(found, "open")),
    }
    if not held:
        _drain(runner)
    return told


def _lag_s(runner: Any) -> float:
    return _WORKERS_LAG_S if isinstance(runner, MasterRunner) else _OWN_LAG_S


def _drain(runner: Any) -> None:
    """Send nothing until all is answered, so that the next trial does not pay for this one."""
    pace.change(runner, shape="held", rate=0.0, duration_s=float("inf"), processes=pace.processes(runner))
    deadline = time.time() + _DRAIN_S
    gevent.sleep(_lag_s(runner))
    while RECORDER.unanswered() > 0 and time.time() < deadline:
        gevent.sleep(0.2)
