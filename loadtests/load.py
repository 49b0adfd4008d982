"""The load tests with everything: open and closed workloads, shapes, capacity, replay, the live page. By plain Locust:

    locust -f loadtests/load.py --host URL --headless OpenArrivals --load-shape ramp --arrival-rate 200 --run-time 60
    locust -f loadtests/load.py --host URL --class-picker            # the web UI: classes and shapes to pick

Nothing of archzero-lab need be installed where this runs.
"""

from __future__ import annotations

import os
from typing import Any

import capacity
import gevent
import live_page
import pace
import replay
import results
import service_watch
import ui_guard
from arrivals import OpenArrivals
from locust import events
from locust.runners import MasterRunner, WorkerRunner
from mix import THINK_TIME_S
from portfolio_users import PortfolioUser, team_file
from recorder import RECORDER
from shapes import DEFAULT_S, SHAPES, Capacity, Constant, Ramp, Replay, Soak, Spike, Steps
from single_actions import BrowsesLists, EditsCards, ImportsBatches, OpensCards, SearchesByTyping, WalksTheGraph
from team_users import RequestUser

__all__ = [
    "BrowsesLists", "Capacity", "Constant", "EditsCards", "ImportsBatches", "OpenArrivals", "OpensCards",
    "PortfolioUser", "Ramp", "Replay", "RequestUser", "SearchesByTyping", "Soak", "Spike", "Steps", "WalksTheGraph",
]  # fmt: skip
# Locust takes the classes that it finds here


@events.init_command_line_parser.add_listener
def options(parser: Any) -> None:
    """Options beside Locust's own; they stand in its web UI too, and travel to its workers."""
    parser.add_argument("--arrival-rate", type=float, default=20.0, help="OpenArrivals: requests a second in all")
    parser.add_argument(
        "--arrivals", choices=["poisson", "even"], default="poisson", help="OpenArrivals: how they come"
    )
    parser.add_argument("--load-shape", choices=sorted(SHAPES), default="constant", help="Without web UI: the shape",
                        include_in_web_ui=False)  # fmt: skip
    parser.add_argument("--think-time-s", type=float, default=THINK_TIME_S, help="Users: mean pause after an answer")
    parser.add_argument("--target-p99-ms", type=float, default=50.0, help="Capacity: the target")
    parser.add_argument("--raise-by", type=float, default=1.6, help="Capacity: from a rate that held to the next",
                        include_in_web_ui=False)  # fmt: skip
    parser.add_argument("--fills", action="store_true", help="Capacity: it counts for nothing, and fills caches",
                        include_in_web_ui=False)  # fmt: skip
    parser.add_argument("--warm-up-s", type=float, default=0.0, help="Seconds at the start that do not count")
    parser.add_argument("--replay-log", default="", help="Replay: an access log", include_in_web_ui=False)
    parser.add_argument("--speed", type=float, default=1.0, help="Replay: twice as fast is 2", include_in_web_ui=False)
    parser.add_argument("--result-file", default="", help="Write the result here, as JSON", include_in_web_ui=False)


@events.init.add_listener
def begin(environment: Any, runner: Any, web_ui: Any, **_: Any) -> None:
    """Choose the shape where nobody can pick one; watch the service; serve the live page."""
    if runner is None:
        return
    pace.listen(runner)
    told = environment.parsed_options
    if told.replay_log:
        replay.read(told.replay_log)
    if isinstance(runner, WorkerRunner):
        return
    if told.headless and not told.user_classes:
        environment.user_classes = [PortfolioUser]
        others = ", ".join(name for name in environment.available_user_classes if name != "PortfolioUser")
        print(f"no class was named: the load is PortfolioUser, users of the mix; others: {others}")  # Locust's console
    if told.headless:
        name = SHAPES[told.load_shape].__name__
        environment.shape_class = environment.available_shape_classes[name]
        environment.shape_class.runner = runner
    if team_file() is None:  # another service knows nothing of what is watched
        gevent.spawn(service_watch.watch, environment)
    if web_ui is not None:
        if chosen := os.environ.get("ARCHZERO_UI_CLASSES"):
            offer_only(web_ui, chosen.split(","))
        live_page.serve(environment, web_ui)
        ui_guard.guard(web_ui, environment)


def offer_only(web_ui: Any, names: list[str]) -> None:
    """Let the page offer these classes: its picker begins with every class ticked, which is nobody's mix."""
    update = web_ui.update_template_args

    def updated() -> None:
        update()
        arguments = web_ui.template_args
        arguments["available_user_classes"] = names
        for by_class in ("users", "available_user_tasks"):
            if isinstance(values := arguments.get(by_class), dict):
                arguments[by_class] = {name: values[name] for name in names if name in values}

    web_ui.update_template_args = updated


def shape_of(environment: Any) -> str:
    """The name of the run's shape; constant where Locust's own users do without one."""
    return getattr(environment.shape_class, "name", "constant")


@events.test_start.add_listener
def set_pace(environment: Any, **_: Any) -> None:
    """Tell every process how fast, once they are all there."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        return
    told, shape = environment.parsed_options, shape_of(environment)
    shaped = environment.shape_class is not None
    processes = pace.processes(runner) if shaped else max(told.num_users or 1, 1)
    if shape in ("capacity", "replay") and not pace.is_open(runner):
        print(
            f"the shape {shape} has arrivals: start with ./lab load --ui --rate N, or pick OpenArrivals"
        )  # Locust's console
        pace.CURRENT.finished = True
        return
    if shape == "capacity":
        pace.begin(runner, shape="held", rate=0.0, duration_s=float("inf"), processes=processes)
        gevent.spawn(
            capacity.find, environment, told.arrival_rate, told.target_p99_ms / 1000, told.raise_by, fills=told.fills
        )
        return
    duration_s = float(told.run_time or (DEFAULT_S if shaped else "inf"))
    if shape == "replay":
        duration_s = float("inf")  # it has its own end
    pace.begin(runner, shape=shape, rate=told.arrival_rate, duration_s=duration_s, processes=processes)
    if isinstance(runner, MasterRunner):
        gevent.spawn(watch_workers, runner, pace.CURRENT.origin, runner.worker_count)


def watch_workers(runner: Any, origin: float, number: int) -> None:
    """Note a worker that is lost while a run goes on: its share of the load is missing from then on."""
    while pace.CURRENT.origin == origin and not pace.CURRENT.finished:
        if runner.worker_count < number:
            RECORDER.lost.append(f"{number - runner.worker_count} of {number} workers lost during the run")
            return
        gevent.sleep(0.2)


@events.test_stopping.add_listener
def stop_arrivals(environment: Any, **_: Any) -> None:
    """Nobody arrives any more, in this process; a search that is stopped by hand ends too."""
    pace.CURRENT.end()


@events.quitting.add_listener
def write_result(environment: Any, **_: Any) -> None:
    """Write what was measured; of a load that was not made the exit code is 3."""
    told = environment.parsed_options
    if isinstance(environment.runner, WorkerRunner) or not (told.headless or told.result_file):
        return
    found = result(environment)
    if told.result_file:
        results.write(told.result_file, found)
    if told.headless and not found["valid"]:
        print("not valid: " + "; ".join(found["reasons"]))  # Locust's console
        environment.process_exit_code = 3


def result(environment: Any) -> dict[str, Any]:
    """The run so far."""
    workload = "open" if pace.is_open(environment.runner) else "closed"
    found = results.result(environment, workload, shape_of(environment))
    return found | {"service": service_watch.rates(RECORDER.service)}
