"""lab report, judge, show: measure the claims, judge a finished run again, draw its pages again."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from archzero_lab.commands.options import Cards, InventoryFile, RelationshipsFile, RunName, Seed, files_of
from archzero_lab.settings import load_settings
from archzero_lab.terminal import console, relative


def report(
    profile: Annotated[
        str, typer.Option(metavar="[smoke|standard|full]", help="How much is measured; smoke is for CI.")
    ] = "standard",
    cards: Cards = None,
    inventory: InventoryFile = None,
    relationships: RelationshipsFile = None,
    only: Annotated[list[str] | None, typer.Option(help="A claim to measure; repeat for several.")] = None,
    seed: Seed = 1,
    until_decided: Annotated[
        float,
        typer.Option(
            min=0, metavar="MINUTES", help="Add blocks to undecided latency claims, for so many minutes at most."
        ),
    ] = 0.0,
    resume: Annotated[
        str, typer.Option(metavar="RUN", help="Resume an interrupted run with its original options.")
    ] = "",
    progress: Annotated[
        Literal["text", "json"], typer.Option(help="json: one JSON line per step, for other programs.")
    ] = "text",
    notebooks: Annotated[
        bool, typer.Option(help="Run the notebooks about the run too; lab show RUN does it later.")
    ] = True,
    notebook: Annotated[
        list[str] | None, typer.Option(help="Only run this notebook, such as staleness, or a file; repeat for several.")
    ] = None,
) -> None:
    """Measure every claim and judge it; the main job.

    Writes reports/latest/index.html and prints the scorecard.
    """
    from archzero_lab.bootstrap.system import system_here
    from archzero_lab.jobs.report.report import make_report
    from archzero_lab.jobs.report.request import ReportRequest
    from archzero_lab.jobs.report.stages import expected_seconds
    from archzero_lab.progress import JsonReporter, Reporter
    from archzero_lab.reporting.run_words import in_minutes
    from archzero_lab.reporting.scorecard import print_scorecard
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.systems.profiles import choose_profile

    if notebook:
        from archzero_lab.jobs.studies.notebook_runs import run_notebooks

        with exclusive("report"):
            pages = run_notebooks(system_here(), notebook, Reporter(console))
        for page in pages:
            console.print(f"{page.title}: {relative(page.html)}", highlight=False, soft_wrap=True)
        return
    request = ReportRequest(
        profile, cards, files_of(inventory, relationships), tuple(only or ()), seed, until_decided, resume, notebooks
    )
    reporter = JsonReporter() if progress == "json" else Reporter(console)
    system = system_here()
    chosen = choose_profile(system.profiles, request.profile, request.size)
    if not (resume or only):
        reporter.expect(
            expected_seconds(chosen.name, chosen.limit_s, until_decided_min=until_decided, notebooks=notebooks)
        )
    with exclusive("report"):
        run, summary = make_report(system, load_settings(), request, reporter)
    if isinstance(reporter, JsonReporter):
        reporter.say({"run": run.id})
        return
    print_scorecard(console, summary)
    took = sum(stage["seconds"] for stage in summary["stages"])
    promise = (
        f", {chosen.name} promises {in_minutes(chosen.limit_s)}"
        if chosen.limit_s and not (request.only or resume)
        else ""
    )
    console.print(f"took {in_minutes(took)}{promise}", highlight=False)
    line = f"report: {relative(run.path / 'index.html')} (also reports/latest/index.html)"
    console.print(line, highlight=False, soft_wrap=True)


def judge(run: RunName = "latest") -> None:
    """Judge a finished run again, by today's claims and margins.

    Reads the run's folder alone, writes its summary.json and prints the scorecard; lab show draws its pages anew.
    """
    from archzero_lab.bootstrap.system import system_here
    from archzero_lab.experiments.claim_files import load_claims
    from archzero_lab.jobs.report.judge import judge as judge_run
    from archzero_lab.reporting.scorecard import print_scorecard
    from archzero_lab.run_folders.finding import find_run
    from archzero_lab.run_folders.margins import margins

    chosen = find_run(run)
    machine = chosen.summary["environment"].get("machine", "")
    print_scorecard(console, judge_run(chosen, load_claims(system_here()), margins(machine) or None))


def show(run: RunName = "latest") -> None:
    """Draw a finished run's pages again: its notebooks and index.html."""
    from archzero_lab.jobs.report.show import show_index, show_notebooks
    from archzero_lab.progress import Reporter
    from archzero_lab.run_folders.finding import find_run

    chosen = find_run(run)
    with Reporter(console).work("notebooks") as tell:
        pages = show_notebooks(chosen, tell)
    console.print(f"drawn: {relative(show_index(chosen, pages))}", highlight=False, soft_wrap=True)
