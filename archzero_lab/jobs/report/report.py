"""The main job: measure, judge, show; one run's folder with everything in it, and reports/latest pointing at it."""

from __future__ import annotations

from typing import Any

from archzero_lab.errors import LabError
from archzero_lab.experiments.claim_files import choose_claims
from archzero_lab.extras import require
from archzero_lab.jobs.report.judge import judge
from archzero_lab.jobs.report.measure import measure
from archzero_lab.jobs.report.request import ReportRequest, begin
from archzero_lab.jobs.report.show import show_index, show_notebooks
from archzero_lab.progress import Reporter
from archzero_lab.reporting.notebooks import NotebookPage
from archzero_lab.run_folders.history import append as append_history
from archzero_lab.run_folders.run import Run
from archzero_lab.settings import COMMAND, Settings
from archzero_lab.systems.system import System


def make_report(
    system: System, settings: Settings, request: ReportRequest, reporter: Reporter
) -> tuple[Run, dict[str, Any]]:
    """Run everything and return the run and its summary.

    Raises LabError for what a person can mend; the folder of a run that failed stays, reports/latest does not move, and
    the run can go on where it was: what it has measured is not measured again.
    """
    system.require_ready()
    if not choose_claims(system, request.only):
        raise LabError(f"{system.claims_file.name} claims nothing: name what one arm is said to gain in [claims]")
    if request.notebooks and system.has_notebooks:
        require("papermill", "the notebooks' pages (or --no-notebooks)")
    run, request = begin(system, request)
    claims = choose_claims(system, request.only)
    try:
        measure(system, settings, run, request, claims, reporter)
        judge(run, resumed=bool(request.resume))
        pages: list[NotebookPage] = []
        if request.notebooks:
            with run.stage("notebooks"), reporter.work("notebooks") as tell:
                pages = show_notebooks(run, tell)
        with run.stage("report"), reporter.work("report"):
            run.summary = run.summary | {"stages": run.stages}  # the page says how long all before it took
            show_index(run, pages)
        summary = run.summary | {"stages": run.stages}  # the last stage has its time only now
        run.summary = summary
    except BaseException:
        _tell_how_to_go_on(run, reporter)
        raise
    run.publish()
    append_history(run, {claim.id: (claim.control, claim.treatment) for claim in claims})
    return run, summary


def _tell_how_to_go_on(run: Run, reporter: Reporter) -> None:
    if any(name in run.done for name in ("measured", "blocks", "tried")) or run.has_load:
        advice = f"what is measured is kept; go on with: {COMMAND} report --resume {run.path.name}"
        reporter.console.print(advice, highlight=False, soft_wrap=True)  # a command to copy is not broken in two
