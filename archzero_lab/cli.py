"""The commands of ./lab. Each prints what a person needs; an error is one line and exit code 2."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from archzero_lab import check_commands, database_commands, index_commands, load_commands, run_commands
from archzero_lab.errors import LabError, mask_secrets
from archzero_lab.settings import ROOT, load_settings
from archzero_lab.terminal import console, relative

app = typer.Typer(
    help="archzero-lab: phase 5's claims as experiments, on a cached card service you can run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # usage errors as plain lines
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug = False

Cards = Annotated[int | None, typer.Option(min=100, help="How many cards to load.")]
InventoryFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Cards: JSON Lines or CSV, gzip or not.")
]
RelationshipsFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Relationships of the inventory.")
]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same rows and same order of everything.")]
ArmName = Literal["control", "indexes", "cache", "treatment", "v2", "v2-cache"]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Options of every command."""
    global _debug
    _debug = debug


@app.command()
def report(
    profile: Annotated[str, typer.Option(help="smoke (CI), standard or full.")] = "standard",
    cards: Cards = None,
    inventory: InventoryFile = None,
    relationships: RelationshipsFile = None,
    only: Annotated[list[str] | None, typer.Option(help="A claim to measure; repeat for several.")] = None,
    seed: Seed = 1,
    until_decided: Annotated[
        float,
        typer.Option(min=0, metavar="MINUTES", help="Add blocks to latency claims until decided, so long at most."),
    ] = 0.0,
    resume: Annotated[
        str, typer.Option(metavar="RUN", help="Go on with a run that was interrupted, as it was asked for.")
    ] = "",
    progress: Annotated[
        Literal["text", "json"], typer.Option(help="json: a line of JSON a step, for another program.")
    ] = "text",
    notebook: Annotated[
        list[str] | None, typer.Option(help="Only run this notebook, such as staleness; repeat for several.")
    ] = None,
) -> None:
    """Measure phase 5 before and after; the main job.

    Writes reports/latest/index.html and prints the scorecard.
    """
    from archzero_lab.jobs.report.measure import make_report
    from archzero_lab.jobs.report.request import ReportRequest
    from archzero_lab.jobs.studies.question import ask
    from archzero_lab.progress import JsonReporter, Reporter
    from archzero_lab.reporting.scorecard import print_scorecard
    from archzero_lab.servers.stack import exclusive

    if notebook:
        with exclusive("report"):
            pages = ask(notebook, Reporter(console))
        for page in pages:
            console.print(f"{page.title}: {relative(page.html)}", highlight=False, soft_wrap=True)
        return
    request = ReportRequest(profile, cards, inventory, relationships, tuple(only or ()), seed, until_decided, resume)
    if progress == "json":
        reporter = JsonReporter()
        with exclusive("report"):
            run, _ = make_report(load_settings(), request, reporter)
        reporter.say({"run": run.id})
        return
    with exclusive("report"):
        run, summary = make_report(load_settings(), request, Reporter(console))
    print_scorecard(console, summary)
    told = f"report: {relative(run.path / 'index.html')} (also reports/latest/index.html)"
    console.print(told, highlight=False, soft_wrap=True)


@app.command("test", context_settings={"ignore_unknown_options": True})
def run_tests(
    arguments: Annotated[list[str] | None, typer.Argument(help="Handed to pytest.")] = None,
) -> None:
    """Run the linters, then pytest on real servers."""
    checks = [
        [sys.executable, "-m", "ruff", "check", "."],
        [sys.executable, "-m", "ruff", "format", "--check", "-q", "."],
        [sys.executable, "-m", "mypy"],
        ["lint-imports", "--no-cache"],
    ]
    if not arguments:
        for check in checks:
            if subprocess.run(check, cwd=ROOT).returncode != 0:
                raise typer.Exit(1)
    # what measures or times runs alone; the rest in two processes, each with servers of its own
    parts = [arguments] if arguments else [["-m", "not alone", "-n", "2", "--dist", "loadfile"], ["-m", "alone"]]
    codes = [subprocess.run([sys.executable, "-m", "pytest", *part], cwd=ROOT).returncode for part in parts]
    raise typer.Exit(max(codes))


@app.command()
def up(
    cards: Annotated[int, typer.Option(min=100, help="How many cards to load.")] = 20_000,
    inventory: InventoryFile = None,
    relationships: RelationshipsFile = None,
    seed: Seed = 1,
) -> None:
    """Start servers and service, and keep them up."""
    from archzero_lab.bootstrap.keep_up import bring_everything_up
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.stack import exclusive, kept_stack, status

    settings = load_settings()
    with exclusive("up"):
        if kept_stack(settings) is not None and status(settings)["service"]["url"]:
            console.print(f"already up: {status(settings)['service']['url']} (./lab down ends it)", highlight=False)
            return
        url, held = bring_everything_up(
            settings, cards, seed=seed, inventory=inventory, relationships=relationships, reporter=Reporter(console)
        )
    console.print(f"up: {url} on {held:,} cards; ./lab status, ./lab down", highlight=False)


@app.command()
def down() -> None:
    """Stop everything that `up` started.

    Loaded cards stay for the next time.
    """
    from archzero_lab.servers.stack import exclusive, take_down

    with exclusive("down"):
        stopped = take_down()
    console.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with URLs that connect.")] = False,
) -> None:
    """Show URLs, pids and databases of what is up."""
    from archzero_lab.servers import stack
    from archzero_lab.systems.arczero.portfolios import in_words

    found = stack.status(load_settings())
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if found["postgres"]["url"] is None:
        console.print("nothing is kept up (./lab up starts it)")
        return
    table = Table("", "url", "pid")
    for name in ("postgres", "redis"):
        pid = found[name]["pid"]
        table.add_row(name, mask_secrets(found[name]["url"]), str(pid) if pid else "not ours")
    service = found["service"]
    table.add_row("service", service["url"] or "not running", ", ".join(map(str, service["pids"])))
    console.print(table)
    for name, label in found["databases"].items():
        console.print(f"{name}: {in_words(label) or 'not finished'}", highlight=False)


@app.command()
def serve(
    arm: Annotated[
        ArmName, typer.Option(help="control (no index), indexes, cache, treatment (both), v2, v2-cache.")
    ] = "treatment",
    cache: Annotated[Literal["on", "off"] | None, typer.Option(help="Overrides the arm's.")] = None,
    cards: Cards = None,
    inventory: InventoryFile = None,
    relationships: RelationshipsFile = None,
    workers: Annotated[int, typer.Option(min=1, max=64)] = 1,
    host: Annotated[str, typer.Option(help="Loopback unless told otherwise.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 3000,
    record: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Append requests to this access log, for load --replay."),
    ] = None,
    seed: Seed = 1,
) -> None:
    """Run the card service until Ctrl-C."""
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.process import is_alive
    from archzero_lab.servers.stack import running_stack
    from archzero_lab.systems.arczero.portfolios import choose_portfolio, drop_arms, ensure_base, make_arms, upto
    from archzero_lab.systems.arczero.services import SERVICE_ARMS, index_set_of, start_service

    database, cached = SERVICE_ARMS[arm]
    cached = cached if cache is None else cache == "on"
    reporter = Reporter(console)
    portfolio = choose_portfolio(cards or 20_000, seed, inventory, relationships)
    purpose = f"serve{os.getpid()}"
    with running_stack(load_settings()) as stack:
        try:
            with reporter.work("load") as tell:
                base = ensure_base(stack, portfolio, tell)
            with reporter.work("migrate") as tell:
                urls = make_arms(stack, base, purpose, lambda name, done, total: tell(done / total), upto(database))
            service = start_service(
                stack,
                arm,
                urls[database],
                cached=cached,
                index_set=index_set_of(database),
                host=host,
                port=port or None,
                workers=workers,
                record=record,
            )
            console.print(
                f"{service.url}  {base.cards:,} cards, arm {arm}, cache {'on' if cached else 'off'}", highlight=False
            )
            while is_alive(service.record):
                time.sleep(0.5)  # until a signal ends us or the service dies
            raise LabError("the service ended by itself; see .lab/logs")
        except KeyboardInterrupt:
            console.print("stopping")
        finally:
            drop_arms(stack, purpose)


@app.command()
def notebook(
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8888,
) -> None:
    """Open JupyterLab on the running stack, at the page to start from.

    Starts what is not up. Ctrl-C ends JupyterLab, ./lab down the stack.
    """
    from archzero_lab.servers.stack import kept_stack

    if kept_stack(load_settings()) is None:
        up(cards=20_000, inventory=None, relationships=None, seed=1)
    os.chdir(ROOT)
    arguments = ["--ServerApp.root_dir=.", "--LabApp.default_url=/lab/tree/notebooks/00_start.ipynb", f"--port={port}"]
    # defaults of ours below a user's own: JupyterLab neither asks for news nor fetches any
    config = [str(ROOT / "archzero_lab" / "jupyter" / "config"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, config))
    if not browser:
        arguments.append("--no-browser")
    if os.geteuid() == 0:
        arguments.append("--allow-root")
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *arguments])  # noqa: S606  # no shell: a list


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Small letters, digits and _.")],
    claim: Annotated[
        bool, typer.Option("--claim/--arms", help="A claim that reports measure too, or two arms to compare.")
    ] = False,
) -> None:
    """Write a notebook of your own, which runs as it stands.

    Into notebooks/own/, which git ignores; ./lab report --notebook NAME runs it.
    """
    from archzero_lab.jobs.studies.skeleton import new_own_notebook

    path = new_own_notebook(name, "claim" if claim else "arms")
    console.print(f"{relative(path)}: open it by ./lab notebook, run it by ./lab report --notebook {name}",
                  highlight=False, soft_wrap=True)  # fmt: skip


# after report, test, up and the others above: help lists them in this order
app.command()(load_commands.load)
app.command()(index_commands.indexes)
app.command()(run_commands.compare)
app.command()(run_commands.gate)
app.command()(run_commands.history)
app.command()(run_commands.sweep)
app.command("verify-consistency")(check_commands.verify)
app.command("self-check")(check_commands.self_check)
app.add_typer(database_commands.migrate_app, name="migrate")
app.command()(database_commands.analyze)


def main() -> None:
    """Run a command; turn what a person can mend into one line and exit code 2."""
    # a terminated lab must stop its servers as an interrupted one does
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with _told_errors():
        app(prog_name="./lab")


def _interrupt(number: int, _frame: Any) -> None:
    raise KeyboardInterrupt(f"signal {number}")


@contextmanager
def _told_errors() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("lab: stopped\n")
        sys.exit(130)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail(f"the disk is full ({error.filename or 'while writing'}); free some space and run again")
        _fail(f"{error.strerror or error}: {error.filename or ''}")
    except Exception as error:
        if type(error).__name__ == "DiskFull":
            _fail("PostgreSQL's disk is full; free some space and run again")
        if _debug:
            raise
        _fail(f"unexpected {type(error).__name__}: {mask_secrets(str(error))}; run with --debug to see where")


def _fail(message: str) -> None:
    if _debug:
        raise
    sys.stderr.write(f"lab: {message}\n")
    sys.exit(2)
