"""The same people on two arms in turn, block by block: what the lab's report runs, in one Locust process.

Reads a plan (JSON, ARCHZERO_PAIRED_PLAN): {"hosts": {arm: url}, "counters": {arm: url}, "think_time_s", "slots":
[{"arm", "block", "seconds", "measured"}], "out": file}; what "counters" answers is kept of each slot, before and
after. Headers by arm and kind of request come by ARCHZERO_PAIRED_HEADERS: they may be secrets. Writes, at the end,
{"slots": [...], "requests": [[slot, name, response_time_ms, ok, reason], ...]} with raw times: Locust's are rounded
to 1, 10 or 100 ms.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from typing import Any

import gevent
from actions import Call
from locust import events
from portfolio_users import PortfolioUser, team_file
from team_users import RequestUser

DROPPED_SHARE = 0.2
"""The first part of each slot: requests of the other arm are still under way, caches of the CPU are cold."""

_plan: dict[str, Any] = {}
if "ARCHZERO_PAIRED_PLAN" in os.environ:
    with open(os.environ["ARCHZERO_PAIRED_PLAN"]) as _handle:
        _plan = json.load(_handle)

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback is never behind a proxy, whatever the environment says."""
_windows: list[dict[str, Any]] = []
_requests: list[tuple[float, str, float, bool, str]] = []
_headers: dict[str, dict[str, dict[str, str]]] = {
    arm: json.loads(told or "{}") for arm, told in json.loads(os.environ.get("ARCHZERO_PAIRED_HEADERS", "{}")).items()
}
_now: dict[str, str] = {"arm": "", "host": next(iter(_plan.get("hosts", {}).values()), "")}


class PairedUser(RequestUser if team_file() else PortfolioUser):  # type: ignore[misc]  # whose requests they are
    """A user whose requests go to the arm whose slot it is."""

    host = _now["host"]

    def at(self, path: str) -> str:
        """At the arm whose slot it is."""
        return _now["host"] + path

    def wait_time(self) -> float:
        """As long as people of this system think: exponential."""
        mean_s = float(_plan.get("think_time_s", 0.0))
        return self.random.expovariate(1 / mean_s) if mean_s > 0 else 0.0

    def headers_of(self, call: Call) -> dict[str, str]:
        """Those of the arm whose slot it is."""
        return {**(call.headers or {}), **_headers.get(_now["arm"], {}).get(call.name, {})}


PortfolioUser.abstract = RequestUser.abstract = True


@events.request.add_listener
def keep(name: str, response_time: float, exception: Any, start_time: float, context: Any, **_: Any) -> None:
    """Keep the raw time of a request with the moment at which it began."""
    _requests.append((start_time, name, response_time, exception is None, str(exception or "")))


@events.test_start.add_listener
def begin(environment: Any, **_: Any) -> None:
    """Start the slots."""
    gevent.spawn(run_slots, environment)


def run_slots(environment: Any) -> None:
    """Give each slot its time, then write everything; whatever happens, end the run."""
    try:
        _run_slots(environment)
    except OSError as error:  # an HTTPError is one: its body says why there are no counters
        said = error.read().decode("utf-8", "replace") if isinstance(error, urllib.error.HTTPError) else str(error)
        print(f"counters: {said}")  # the lab reads the log's last line
        environment.process_exit_code = 2
    finally:
        environment.runner.quit()


def _run_slots(environment: Any) -> None:
    """Read the counters of each slot's arm before and after it."""
    while environment.runner.user_count < environment.parsed_options.num_users:
        gevent.sleep(0.01)
    for slot in _plan["slots"]:
        arm = slot["arm"]
        _now["host"], _now["arm"] = _plan["hosts"][arm], arm
        gevent.sleep(slot["seconds"] * DROPPED_SHARE)
        before, began = counters(arm), time.time()
        gevent.sleep(slot["seconds"] * (1 - DROPPED_SHARE))
        ended, after = time.time(), counters(arm)
        _windows.append({**slot, "began": began, "ended": ended, "before": before, "after": after})
    rows = []
    for start, name, response_ms, ok, reason in _requests:
        at = next((i for i, w in enumerate(_windows) if w["began"] <= start < w["ended"]), None)
        if at is not None:
            rows.append([at, name, response_ms, ok, reason])
    with open(_plan["out"], "w") as handle:
        json.dump({"slots": _windows, "requests": rows}, handle)


def counters(arm: str) -> Any:
    """The arm's counters as the lab tells them, outside the measured requests."""
    with _direct.open(_plan["counters"][arm], timeout=60) as answer:
        return json.load(answer)
