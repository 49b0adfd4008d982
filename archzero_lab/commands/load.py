"""./lab load: a load test on arms of ours or on a host, headless or with Locust's web UI."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from archzero_lab.commands.options import InventoryFile, RelationshipsFile, Seed, files_of
from archzero_lab.errors import SettingsError
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.settings import PROJECT_FILE, load_settings
from archzero_lab.terminal import console, relative

if TYPE_CHECKING:
    from archzero_lab.jobs.load.request import LoadRequest
    from archzero_lab.systems.system import System


def load(
    arm: Annotated[
        list[str] | None,
        typer.Option(help="control, indexes, cache, treatment, v2, v2-cache, near, or of archzero.toml; repeatable."),
    ] = None,
    host: Annotated[str, typer.Option(help="A card service that runs already, instead of an arm.")] = "",
    shape: Annotated[
        str,
        typer.Option(
            metavar="[constant|ramp|steps|spike|soak|capacity|replay]",
            help="How the load goes over time; replay wants --replay.",
        ),
    ] = "constant",
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Open: send so many requests a second, answered or not.")
    ] = None,
    users: Annotated[int | None, typer.Option(min=1, help="Closed: users who wait and think (8).")] = None,
    think_time: Annotated[
        float | None, typer.Option(min=0, help="Closed: mean seconds between answer and question (0.04).")
    ] = None,
    duration: Annotated[float | None, typer.Option(min=1, help="Seconds, after the warm-up.")] = None,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds that do not count.")] = 5.0,
    even: Annotated[bool, typer.Option("--even", help="Open: evenly spaced, not Poisson.")] = False,
    target_p99_ms: Annotated[float, typer.Option(min=1, help="Capacity: the target.")] = 50.0,
    rounds: Annotated[int, typer.Option(min=1, help="Capacity: how often it is closed in on.")] = 6,
    replay: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="An access log: ours, or Combined Log Format.")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.01, help="Replay: 2 is twice as fast.")] = 1.0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Locust processes.")] = 1,
    ui: Annotated[
        bool, typer.Option("--ui", help="Locust's web UI and the live page, until Ctrl-C; then a report.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the web UI.")] = 8089,
    master: Annotated[
        bool, typer.Option("--master", help="With --host: wait for --workers of other machines.")
    ] = False,
    worker: Annotated[str, typer.Option(metavar="HOST", help="Be a worker of the master at HOST, nothing else.")] = "",
    cards: Annotated[int, typer.Option(min=100, help="How many cards the arms hold.")] = 20_000,
    inventory: InventoryFile = None,
    relationships: RelationshipsFile = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the result here; - is the terminal.")] = None,
    i_own_this_host: Annotated[str, typer.Option(metavar="NAME", help="Allow a host that is not this machine.")] = "",
    seed: Seed = 1,
) -> None:
    """Load a service: open or closed, a shape, its capacity.

    Writes a report into reports/, latest-load points at it. A load ends by itself.
    """
    from archzero_lab.bootstrap.system import system_here
    from archzero_lab.jobs.load.request import LoadRequest, check_log, check_request
    from archzero_lab.servers.ports import is_free

    if worker:
        _be_worker(worker)
    system = system_here()
    if host and not system.takes_hosts:
        raise SettingsError(
            f"--host is for the card service: name it as the url of an arm in {PROJECT_FILE}, then --arm"
        )
    request = LoadRequest(
        arms=tuple(dict.fromkeys(arm or [system.default_arm])), host=host,
        shape="replay" if replay is not None else shape, rate_per_s=rate, users=users,
        think_time_s=system.think_time_s if think_time is None else think_time, duration_s=duration,
        warm_up_s=warm_up, arrivals="even" if even else "poisson", workers=workers, target_p99_ms=target_p99_ms,
        rounds=rounds, replay=replay, speed=speed, seed=seed, master=master, closed_user=system.load_user,
    )  # fmt: skip
    system.require_ready()
    check_request(system, request, i_own_this_host)
    if replay is not None:
        log = check_log(replay)
        left = f"; {log['left_out']:,} writes without a body are left out" if log["left_out"] else ""
        console.print(f"{replay.name}: {log['requests']:,} requests in {log['seconds']:.0f} s{left}", highlight=False)
    if host:
        system.rows_exist(host)
    if ui and len(request.arms) > 1:
        raise SettingsError("--ui serves one arm: name one --arm")
    if ui and not is_free(port):  # said before servers are started and rows loaded
        raise SettingsError(f"port {port} of the web UI is taken: name another one with --port")
    results, page = _run(system, request, cards, files_of(inventory, relationships), port if ui else None)
    if results is None:
        return
    _print(results)
    arms = results["arms"][0] if len(results["arms"]) == 1 else results["arms"]
    if as_json is not None:
        text = json.dumps(_as_written(arms), indent=2) + "\n"
        if str(as_json) == "-":
            typer.echo(text, nl=False)
        else:
            as_json.write_text(text)
    for path in page:
        console.print(f"report: {relative(path)}", highlight=False, soft_wrap=True)
    if not all(entry["valid"] for entry in results["arms"]):
        raise typer.Exit(3)


def _be_worker(address: str) -> None:
    """Become a Locust worker; the master tells it everything else."""
    from archzero_lab.jobs.load.request import LOADTESTS

    name, _, number = address.partition(":")
    command = [sys.executable, "-m", "locust", "-f", str(LOADTESTS / "load.py"), "--worker", "--master-host", name]
    os.chdir(LOADTESTS)
    os.execv(sys.executable, [*command, "--master-port", number or "5557"])  # noqa: S606  # no shell: a list


def _run(
    system: System, request: LoadRequest, cards: int, files: dict[str, Path], ui_port: int | None
) -> tuple[dict[str, Any] | None, list[Path]]:
    from archzero_lab.jobs.load.loads import Target, run_loads, served_arms
    from archzero_lab.jobs.load.web_ui import keep_ui_run, serve_ui
    from archzero_lab.progress import Reporter
    from archzero_lab.reporting.notebooks import NOTEBOOKS, links_to, run_notebook
    from archzero_lab.run_folders.environment import describe_machine
    from archzero_lab.run_folders.run import LATEST_LOAD, Run
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import registry, running_stack
    from archzero_lab.systems.system import Rows

    reporter = Reporter(console)
    with ExitStack() as closing:
        closing.enter_context(exclusive("load"))
        # who opens the web UI and measures nothing leaves no run behind
        folder = Path(closing.enter_context(TemporaryDirectory())) if ui_port is not None else None
        run = Run.new("load") if folder is None else Run(folder)
        if request.host:
            closing.callback(registry().stop_own)
            targets = [Target("host", request.host, {})]
            described: dict[str, Any] = {"size": None}
        else:
            stack = closing.enter_context(running_stack(load_settings()))
            rows = Rows(cards, request.seed, files)
            served = served_arms(system, stack, rows, request.arms, run, reporter)
            targets = closing.enter_context(served)
            described = {"size": cards if system.takes_hosts else None}
        if ui_port is not None:
            console.print(f"Locust: http://127.0.0.1:{ui_port}  live: http://127.0.0.1:{ui_port}/live", highlight=False)
            console.print(f"on {targets[0].host} ({targets[0].arm}); Ctrl-C ends both", highlight=False)
            console.print("the report of the run that is made last follows", highlight=False)

            def say(text: str) -> None:
                console.print(text, highlight=False, markup=False, soft_wrap=True)

            result, used = serve_ui(targets[0], request, run.path, ui_port, say)
            if not result:
                console.print(
                    f"no report: no run lasted beyond its warm-up of {request.warm_up_s:g} s", highlight=False
                )
                return None, []
            run = Run.new("load")
            results = keep_ui_run(targets[0], request, result, used, run)
        else:
            with reporter.work("locust") as tell:
                results = run_loads(targets, request, run, tell)
        run.loads = results = results | {"run_id": run.path.name, **described, **describe_machine()}
        run.publish(LATEST_LOAD)
        names = ["07_load", *(["08_capacity"] if results["request"]["shape"] == "capacity" else [])]
        with reporter.work("notebooks"):
            paths = [NOTEBOOKS / f"{name}.ipynb" for name in names]
            links = links_to(paths)
            pages = [run_notebook(path, run.path, {"load": str(run.path)}, pages=links) for path in paths]
    return results, [run.path / page.html.name for page in pages]


def _as_written(result: Any) -> Any:
    """Without what the run's folder has at length."""
    if isinstance(result, list):
        return [_as_written(entry) for entry in result]
    return {
        name: value for name, value in result.items() if name not in ("actions", "blocks", "failed_because", "seconds")
    }


def _print(results: dict[str, Any]) -> None:
    from archzero_lab.jobs.load.result import LEAST_PER_S, answer_of, rate_in_words, time_in_words

    request = results["request"]
    workload = results["arms"][0]["workload"]
    searched = request["shape"] == "capacity"
    last = "capacity" if searched else "service p99"
    title = f"{workload} workload, {request['shape']}" + f", target p99 {request['target_p99_ms']:g} ms" * searched
    table = WholeTable("arm", "answered", "failed", "p50", "p95", "p99", last, "valid", title=title)
    for entry in results["arms"]:
        response, capacity = entry["response_time_s"], entry["capacity"]
        shown = time_in_words(entry["service_time_s"]["p99"])
        if capacity is not None:
            shown = rate_in_words(capacity["rate_per_s"])
            if capacity["ci_low"] is not None and capacity["rate_per_s"] >= LEAST_PER_S:
                shown += f" ({capacity['ci_low']:.0f} to {capacity['ci_high']:.0f})"
        table.add_row(
            entry["arm"],
            f"{entry['achieved_rate_per_s']:.1f}/s",
            str(entry["failures"] + entry["dropped"]),
            *(time_in_words(response[name]) for name in ("p50", "p95", "p99")),
            shown, _verdict(entry),
        )  # fmt: skip
    console.print(table)
    if len(results["arms"]) > 1 and not searched:
        console.print(f"  {answer_of(results['arms'])}", highlight=False)
    for entry in results["arms"]:
        if entry["saturated"]:
            console.print(f"  {entry['arm']}: {entry['saturated']}", style="yellow", highlight=False)
        for reason in entry["reasons"][:6]:
            console.print(f"  {entry['arm']}: {reason}", style="yellow", highlight=False)
        for reason, number in list(entry["failed_because"].items())[:3]:
            console.print(f"  {entry['arm']}: {number} x {reason}", style="yellow", highlight=False)


def _verdict(entry: dict[str, Any]) -> Text:
    if not entry["valid"]:
        return Text("no", "bold red")
    return Text("saturated", "yellow") if entry["saturated"] else Text("yes", "green")
