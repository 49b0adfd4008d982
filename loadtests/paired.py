"""The same people on two arms in turn, block by block: what the lab's report runs, in one Locust process.

Reads a plan (JSON, ARCHZERO_PAIRED_PLAN): {"hosts": {arm: url}, "slots": [{"arm", "block", "seconds", "measured"}],
"out": file}. Writes, at the end, {"slots": [...], "requests": [[slot, name, response_time_ms, ok, reason], ...]} with
raw times: Locust's own percentiles are rounded to 1, 10 or 100 ms.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from typing import Any

import gevent
from locust import events
from portfolio_users import PortfolioUser

DROPPED_SHARE = 0.2
"""The first part of each slot: requests of the other arm are still under way, caches of the CPU are cold."""

_plan: dict[str, Any] = {}
if "ARCHZERO_PAIRED_PLAN" in os.environ:
    with open(os.environ["ARCHZERO_PAIRED_PLAN"]) as _handle:
        _plan = json.load(_handle)

_windows: list[dict[str, Any]] = []
_requests: list[tuple[float, str, float, bool, str]] = []
_now = {"host": next(iter(_plan.get("hosts", {}).values()), "")}


class PairedUser(PortfolioUser):
    """A PortfolioUser whose requests go to the arm whose slot it is."""

    host = _now["host"]

    def at(self, path: str) -> str:
        """At the arm whose slot it is."""
        return str(_now["host"]) + path


PortfolioUser.abstract = True


@events.request.add_listener
def keep(name: str, response_time: float, exception: Any, start_time: float, context: Any, **_: Any) -> None:
    """Keep the raw time of a request with the moment at which it began."""
    _requests.append((start_time, name, response_time, exception is None, str(exception or "")))


@events.test_start.add_listener
def begin(environment: Any, **_: Any) -> None:
    """Start the slots."""
    gevent.spawn(run_slots, environment)


def run_slots(environment: Any) -> None:
    """Give each slot its time, read its counters before and after, then write everything and end the run."""
    while environment.runner.user_count < environment.parsed_options.num_users:
        gevent.sleep(0.01)
    for slot in _plan["slots"]:
        host = _plan["hosts"][slot["arm"]]
        _now["host"] = host
        gevent.sleep(slot["seconds"] * DROPPED_SHARE)
        before, began = counters(host), time.time()
        gevent.sleep(slot["seconds"] * (1 - DROPPED_SHARE))
        ended, after = time.time(), counters(host)
        _windows.append(
            {**slot, "began": began, "ended": ended, "stats_before": before, "stats_after": after,
             "health": ask(host, "/api/v1/cache/health")}
        )  # fmt: skip
    rows = []
    for start, name, response_ms, ok, reason in _requests:
        at = next((i for i, w in enumerate(_windows) if w["began"] <= start < w["ended"]), None)
        if at is not None:
            rows.append([at, name, response_ms, ok, reason])
    with open(_plan["out"], "w") as handle:
        json.dump({"slots": _windows, "requests": rows}, handle)
    environment.runner.quit()


def counters(host: str) -> dict[str, Any]:
    """The cache's counters, and how many statements the service has sent and how long they took."""
    found: dict[str, Any] = ask(host, "/api/v1/cache/stats")
    with urllib.request.urlopen(host + "/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    for name, metric in (("statements", "statements_total"), ("database_s", "statement_seconds_sum")):
        line = next(line for line in lines if line.startswith(f"archzero_database_{metric}"))
        found[name] = float(line.rpartition(" ")[2])
    return found


def ask(host: str, path: str) -> Any:
    """A JSON answer of the service, outside the measured requests."""
    with urllib.request.urlopen(host + path, timeout=30) as answer:
        return json.load(answer)
