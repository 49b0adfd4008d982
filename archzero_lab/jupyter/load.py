"""A load's results as a notebook reads them: its arms in a table, its course, its capacity."""

from __future__ import annotations

from typing import Any

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import unknown_name
from archzero_lab.jobs.load.loads import run_loads, served_arms
from archzero_lab.jobs.load.request import LoadRequest, check_request
from archzero_lab.jobs.load.result import answer_of
from archzero_lab.jobs.load.saturation import STEADY
from archzero_lab.jupyter.run import Words
from archzero_lab.progress import QUIET
from archzero_lab.reporting import figures, load_figures
from archzero_lab.reporting.figures import Picture
from archzero_lab.reporting.frame import Frame
from archzero_lab.run_folders.environment import describe_machine
from archzero_lab.run_folders.finding import find_run, newest_load
from archzero_lab.run_folders.run import LATEST_LOAD, LOADS, Run
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import load_settings
from archzero_lab.systems.system import Rows

_REASONS = 3
"""So many of an arm's reservations are told; then how many more there are."""
_CARRIED = 0.9
"""Of what was offered; arrivals at random are some fewer or more than their rate in a short load."""
_CARDS = 20_000
"""As ./lab up has them, which so stay loaded; of a load that is measured here."""


class Load:
    """One load's results, of its run."""

    def __init__(self, run: Run) -> None:
        self.path = run.path
        self.told: dict[str, Any] = run.loads
        self._run = run

    def __repr__(self) -> str:
        request = self.told["request"]
        arms = ", ".join(entry["arm"] for entry in self.told["arms"])
        return f"load {self.told['run_id']}: {request['shape']} on {arms}"

    @property
    def arms(self) -> list[str]:
        """The arms that were loaded."""
        return [entry["arm"] for entry in self.told["arms"]]

    @property
    def seconds(self) -> Frame:
        """A row a second and arm: offered, done, failed, dropped, response and service times, hit rate, statements."""
        return Frame(self._run.load_seconds)

    @property
    def resources(self) -> Frame:
        """A row a second and process: at, process, cpu_percent of one core, rss_bytes, arm, round."""
        return Frame(self._run.load_resources)

    @property
    def trials(self) -> Frame:
        """A row a trial of a capacity; round 0 is the first search, which the capacity is not made of."""
        return Frame(self._run.load_trials)

    def table(self) -> Frame:
        """A row an arm: rates, failures, response and service times in ms, lateness of the generator; whether that was
        not in the way (valid), and whether times climbed all through (saturated)."""
        rows = []
        for entry in self.told["arms"]:
            response, service, late = (entry[f"{name}_s"] for name in ("response_time", "service_time", "lateness"))
            rows.append(
                {
                    "arm": entry["arm"],
                    "valid": entry["valid"],
                    "saturated": bool(entry.get("saturated")),
                    "offered_per_s": entry["offered_rate_per_s"],
                    "answered_per_s": entry["achieved_rate_per_s"],
                    "failed": entry["failures"] + entry["dropped"],
                    **{f"{name}_ms": _ms(response[name]) for name in ("p50", "p95", "p99", "max")},
                    "service_p99_ms": _ms(service["p99"]),
                    "late_p99_ms": _ms(late["p99"]),
                }
            )
        return Frame(rows).set_index("arm").round(2)

    def actions(self) -> Frame:
        """A row an arm and action: requests, failures, response times in ms."""
        rows = [
            {"arm": entry["arm"], "action": name, "requests": counts["requests"], "failures": counts["failures"],
             **{f"{q}_ms": _ms(counts["response_time_s"][q]) for q in ("p50", "p95", "p99")}}
            for entry in self.told["arms"] for name, counts in entry["actions"].items()
        ]  # fmt: skip
        return Frame(rows).set_index(["arm", "action"]).round(2)

    def answer(self) -> Words:
        """What each arm answered, how the others compare with the first, and which were saturated."""
        arms = self.told["arms"]
        climbed = tuple(f"{entry['arm']}: {entry['saturated']}" for entry in arms if entry.get("saturated"))
        carried = self.told["request"]["shape"] in STEADY and all(
            entry["valid"]
            and not entry["failures"] + entry["dropped"]
            and entry["achieved_rate_per_s"] >= _CARRIED * (entry["offered_rate_per_s"] or 0)
            for entry in arms
        )
        head = "Not all could be carried" if climbed else "Carried" if carried else "What came back"
        return Words(head, answer_of(arms), climbed)

    def together(self) -> Picture:
        """Response times and answers of all arms on the same axes."""
        return load_figures.together({arm: self._of(arm) for arm in self.arms})

    def course(self, arm: str) -> Picture:
        """An arm's load second by second: latency bands, errors, hit rate warming up. Raises UnknownNameError."""
        return load_figures.course(self._of(arm), f"{arm}: {self.told['request']['shape']}")

    def use(self, arm: str) -> Picture:
        """CPU and memory beside an arm's load. Raises UnknownNameError."""
        mine = self._of(arm)
        rows = self.resources[(self.resources["arm"] == arm) & (self.resources["round"] == mine["round"].iloc[0])]
        return load_figures.resources(rows, mine, f"{arm}: what it used")

    def courses(self) -> figures.Pictures:
        """The course of every arm."""
        return figures.Pictures(tuple(self.course(arm) for arm in self.arms))

    def uses(self) -> figures.Pictures:
        """CPU and memory beside every arm."""
        return figures.Pictures(tuple(self.use(arm) for arm in self.arms))

    def curves(self) -> Picture:
        """Answered rate and p99 against offered rate. Of a capacity only."""
        return load_figures.rate_curves(self.trials, self.told["request"]["target_p99_ms"])

    def capacities(self) -> Picture:
        """The capacity of each arm with its interval. Of a capacity only."""
        return load_figures.capacities(self.told["arms"])

    def capacity_table(self) -> Frame:
        """A row an arm: the capacity in requests a second, its interval and the rounds behind it."""
        rows = [
            {"arm": entry["arm"], **{name: entry["capacity"][name] for name in ("rate_per_s", "ci_low", "ci_high")},
             "rounds": ", ".join(f"{rate:.0f}" for rate in entry["capacity"]["rounds"]),
             "method": entry["capacity"]["method"]}
            for entry in self.told["arms"]
        ]  # fmt: skip
        return Frame(rows).set_index("arm").round(1)

    def trust(self) -> Words:
        """Whether the generator, and not the service, may be what was measured."""
        reasons = tuple(line for entry in self.told["arms"] for line in _reasons(entry))
        invalid = [entry["arm"] for entry in self.told["arms"] if not entry["valid"]]
        if invalid:
            return Words("Not valid", f"{', '.join(invalid)}: the generator was in the way", reasons)
        said = "the generator kept its schedule" + ", but:" * bool(reasons)
        return Words("Valid", said, reasons)

    def _of(self, arm: str) -> Frame:
        if arm not in self.arms:
            raise unknown_name("arm of this load", arm, self.arms)
        mine = self.seconds[self.seconds["arm"] == arm]
        return Frame(mine[mine["round"] == mine["round"].max()]).reset_index(drop=True)


def load(name: str = "", *, shape: str = "constant", cards: int = _CARDS) -> Load:
    """A load by its run's id or folder; without a name the newest of a shape, or a short one measured now on `cards`.

    >>> load("20261124-101500-load-1a2b")  # doctest: +SKIP
    Raises LabError where there is no load of that name.
    """
    if name:
        return Load(find_run(name, holds=LOADS))
    newest = newest_load(capacity=shape == "capacity")
    return Load(newest) if newest is not None else _measure(shape, cards)


def _measure(shape: str, cards: int) -> Load:
    if shape == "capacity":
        request = LoadRequest(arms=("indexes", "treatment"), shape=shape, target_p99_ms=200.0, rounds=0)
    else:
        request = LoadRequest(shape=shape, rate_per_s=100.0, duration_s=10.0, warm_up_s=2.0)
    system = system_here()
    check_request(system, request)
    run = Run.new("load")
    with (
        running_stack(load_settings()) as stack,
        served_arms(system, stack, Rows(cards), request.arms, run, QUIET) as targets,
    ):
        results = run_loads(targets, request, run)
    run.loads = results | {"run_id": run.path.name, "size": cards, **describe_machine()}
    run.publish(LATEST_LOAD)
    return Load(run)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _reasons(entry: dict[str, Any]) -> list[str]:
    """An arm's reservations, a few of many: no arm's own may be lost among another's."""
    reasons = [f"{entry['arm']}: {reason}" for reason in entry["reasons"]]
    more = len(reasons) - _REASONS
    return reasons if more < 2 else [*reasons[:_REASONS], f"{entry['arm']}: and {more} more of the kind"]
