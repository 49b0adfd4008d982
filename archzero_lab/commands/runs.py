"""The commands about verdicts: compare, gate, history, sweep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from archzero_lab.commands.options import RunName
from archzero_lab.errors import SettingsError
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.settings import PROJECT_FILE, REPORTS, ROOT, load_settings
from archzero_lab.terminal import console, relative

if TYPE_CHECKING:
    from archzero_lab.run_folders.gate import GateResult
    from archzero_lab.run_folders.run import Run

_STYLE = {"pass": "green", "equivalent": "green", "improved": "green", "regression": "bold red",
          "regressed": "bold red", "inconclusive": "bold yellow"}  # fmt: skip


def compare(before: RunName, after: RunName) -> None:
    """Compare two runs, series by series.

    Writes reports/comparison.html.
    """
    from archzero_lab.reporting.comparison_page import comparison_page
    from archzero_lab.run_folders.finding import find_run
    from archzero_lab.run_folders.series import comparable, compare_runs, yardstick_ratio

    one, other = find_run(before), find_run(after)
    for warning in comparable(one, other):
        console.print(f"not like with like: {warning}", highlight=False)
    rows, yardstick = compare_runs(one, other, _known_spread(other)), yardstick_ratio(one, other)
    table = WholeTable("series", "before", "after", "after / before", "95 % interval", "found", "note", lead=["found"])
    for row in rows:
        verdict = Text(row.found.value, _STYLE[row.found.value])
        interval = f"{row.ci_low:.3f} to {row.ci_high:.3f}"
        table.add_row(row.name, f"{row.before:.3g} ms", f"{row.after:.3g} ms", f"{row.ratio:.3f}", interval, verdict,
                      row.note)  # fmt: skip
    console.print(table)
    if yardstick is not None:
        console.print(f"the machine's yardstick: {yardstick - 1:+.1%}", highlight=False)
    path = REPORTS / "comparison.html"
    path.write_text(comparison_page(one, other, rows, comparable(one, other), yardstick))
    console.print(f"page: {relative(path)}", highlight=False, soft_wrap=True)


def gate(
    run: RunName = "latest",
    against: Annotated[str | None, typer.Option(help="The baseline: a run, or a run's folder.")] = None,
    build: Annotated[
        str | None, typer.Option(help="Measure now, against this build: a git revision, or a checkout's folder.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Count now, and hold the count against this file of `work --save`.")
    ] = None,
    accept: Annotated[str, typer.Option(help="With --work: write the new count into the file, with this reason.")] = "",
    candidate: Annotated[
        str, typer.Option(help="With --build or --work: what is judged; without it the tree as it lies here.")
    ] = "",
    only: Annotated[
        list[str] | None, typer.Option(help="With --build: a claim, or a request of archzero.toml, to measure.")
    ] = None,
    cards: Annotated[int | None, typer.Option(min=100, help="With --build: on how many cards.")] = None,
    rules: Annotated[Path | None, typer.Option(help="A TOML file with [[gate.rules]].")] = None,
    inconclusive: Annotated[
        Literal["pass", "fail"] | None, typer.Option(help="What an inconclusive gate counts as.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit XML report.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary for a pull request.")] = None,
    gitlab: Annotated[Path | None, typer.Option(help="Write a code quality report for GitLab.")] = None,
) -> None:
    """Compare a run, or the code, with a baseline: exit 0, 1 or 3.

    0 pass, 1 regression, 3 inconclusive, 2 could not run. In GitHub's actions also a summary and annotations.
    """
    from archzero_lab.commands.gate_builds import gate_builds
    from archzero_lab.commands.work import gate_work
    from archzero_lab.run_folders import gate as gates
    from archzero_lab.run_folders import gate_forms

    if accept and work is None:
        raise SettingsError("--accept is about a count: give --work FILE with it")
    if work is not None and (only or cards is not None or rules is not None or against or build):
        raise SettingsError("--work holds the whole count of its file: --only, --cards, --rules, --against, --build are"
                            " not for it")  # fmt: skip
    if work is not None:
        result = gate_work(work, candidate, accept)
    elif build is not None:
        result = gate_builds(build, candidate, tuple(only or ()), cards, rules)
    else:
        result = _gate_runs(run, against, rules)
    if result.sight:
        console.print(result.sight, highlight=False)
    table = WholeTable("what", "result", "measured", title=f"gate: {result.result}", lead=["result"])
    for outcome in result.outcomes:
        table.add_row(Text(outcome.name), Text(outcome.result, _STYLE[outcome.result]), Text(outcome.said))
    console.print(table)
    for warning in result.warnings:
        console.print(f"note: {warning}", highlight=False)
    text = gate_forms.markdown(result)
    if markdown is not None:
        markdown.write_text(text)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a") as file:
            file.write(text)
    if junit is not None:
        junit.write_bytes(gate_forms.junit(result))
    if gitlab is not None:
        gitlab.write_text(gate_forms.gitlab(result))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in gate_forms.github(result):
            typer.echo(line)
    counted = gates.PASS if accept else result.result
    if counted == gates.INCONCLUSIVE and inconclusive is not None:
        counted = gates.PASS if inconclusive == "pass" else gates.REGRESSION
    raise typer.Exit(gates.EXIT[counted])


def _gate_runs(run: str, against: str | None, rules: Path | None) -> GateResult:
    from archzero_lab.run_folders import gate as gates
    from archzero_lab.run_folders.finding import find_run
    from archzero_lab.run_folders.series import comparable

    default = ROOT / PROJECT_FILE
    chosen = gates.read_rules(rules) if rules is not None else gates.read_rules(default) if default.exists() else []
    measured = find_run(run)
    baseline = find_run(against) if against is not None else None
    result = gates.run_gate(measured, baseline, chosen, _known_spread(measured))
    result.warnings.extend(comparable(baseline, measured) if baseline is not None else [])
    return result


def _known_spread(run: Run) -> dict[tuple[str, str, str], float]:
    """What the history tells of this machine at this size; nothing before there is one."""
    from archzero_lab.run_folders import history as histories

    if not histories.FILE.exists():
        return {}
    machine = run.summary.get("environment", {}).get("machine", "")
    return histories.spread_between_runs(
        histories.read(), machine, run.summary.get("size", run.summary.get("cards", 0))
    )


def history(
    metric: Annotated[Literal["p50", "p95", "p99", "mean"], typer.Option(help="Which metric to draw.")] = "p50",
) -> None:
    """Draw every metric over all runs; mark change points.

    Writes reports/history.html. Machines are kept apart.
    """
    from archzero_lab.bootstrap.system import system_here
    from archzero_lab.experiments.claim_files import load_claims
    from archzero_lab.reporting.course_figures import over_time
    from archzero_lab.reporting.history_page import history_page
    from archzero_lab.run_folders import history as histories

    rows = histories.read()
    titles = {claim.id: claim.title for claim in load_claims(system_here())}
    points = histories.change_points(rows, metric)
    shown = rows[rows["metric"] == metric]
    figures = [
        (
            f"{titles.get(str(claim), claim)}, {size:,.0f} rows" if size else titles.get(str(claim), str(claim)),
            over_time(group, str(claim), points),
        )
        for (claim, size), group in shown.groupby(["claim", "size"], dropna=False)
    ]
    path = REPORTS / "history.html"
    path.write_text(history_page(figures, points))
    table = WholeTable("claim", "machine", "runs", "newest ratio", "95 % interval", "newest run")
    ratios = shown[shown["arm"] == histories.RATIO]
    for (claim, machine), group in ratios.groupby(["claim", "machine"]):
        last = group.iloc[-1]
        interval = f"{last['ci_low']:.3f} to {last['ci_high']:.3f}"
        table.add_row(str(claim), str(machine), str(len(group)), f"{last['value']:.3f}", interval, last["run_id"])
    console.print(table)
    for point in points:
        console.print(f"{point.what}: {point.claim} x {point.ratio:.2f} from {point.run_id}", highlight=False)
    console.print(f"drawn: {relative(path)}", highlight=False, soft_wrap=True)


def sweep(
    cards: Annotated[str, typer.Option(help="Sizes, such as 10000,100000.")] = "10000,100000",
    database_distance_ms: Annotated[str, typer.Option(help="Round trips to PostgreSQL, in ms.")] = "0,1,5",
    redis_distance_ms: Annotated[str, typer.Option(help="Round trips to Redis, in ms.")] = "0,0.5",
    only: Annotated[list[str] | None, typer.Option(help="A claim; repeat for several.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """Show at which sizes and distances each latency claim holds.

    Distance is a delay put into the connection, as a network would. Writes sweep.html into a run's folder.
    """
    from archzero_lab.bootstrap.system import system_here
    from archzero_lab.jobs.studies.study_pages import sweep_page
    from archzero_lab.jobs.studies.sweep import holds_from, run_sweep
    from archzero_lab.progress import Reporter
    from archzero_lab.run_folders.run import Run
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack

    system = system_here()
    system.require_ready()
    # a team's rows are those that it has
    sizes = [int(value) for value in _numbers(cards, "--cards", 100)] if system.profiles["smoke"].size else [0]
    far = _numbers(database_distance_ms, "--database-distance-ms", 0)
    near = _numbers(redis_distance_ms, "--redis-distance-ms", 0)
    with exclusive("sweep"), running_stack(load_settings()) as stack, Reporter(console).work("sweep") as tell:
        cells = run_sweep(system, stack, sizes, far, near, only=tuple(only or ()), seed=seed, progress=tell)
    run = Run.new("sweep")
    run.keep_sweep(cells)
    for claim, group in cells.groupby("claim", sort=False):
        console.print(f"{group['title'].iloc[0]} holds {holds_from(cells, str(claim))}", highlight=False)
    page = run.write_page(sweep_page(cells, system.title), "sweep.html")
    console.print(f"drawn: {relative(page)}", highlight=False, soft_wrap=True)


def _numbers(text: str, option: str, least: float) -> list[float]:
    """The numbers of a comma-separated list, ascending. Raises SettingsError naming the option."""
    try:
        values = sorted({float(word) for word in text.split(",")})
    except ValueError:
        raise SettingsError(f"{option} {text}: give numbers with commas between them, such as 0,1,5") from None
    if not values or values[0] < least:
        raise SettingsError(f"{option} {text}: every value must be at least {least:g}")
    return values


def send(
    run: RunName = "latest",
    data: Annotated[
        bool, typer.Option("--data", help="Its data: an archive that compare, judge and load_run take.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where it is written; without it here, under the run's name.")
    ] = None,
) -> None:
    """Put a run into one file for somebody else: a page, or its data."""
    from archzero_lab.run_folders.finding import all_runs, find_run
    from archzero_lab.run_folders.run import LOADS, SUMMARY
    from archzero_lab.run_folders.sending import ARCHIVE, one_page, pack

    holds = next((one for one in (SUMMARY, LOADS) if any(run == chosen.path.name for chosen in all_runs(one))), SUMMARY)
    chosen = find_run(run, holds=holds)
    path = out or Path(chosen.path.name + (ARCHIVE if data else ".html"))
    if data:
        pack(chosen, path)
    else:
        path.write_text(one_page(chosen))
    console.print(f"{relative(path)}: {path.stat().st_size / 1e6:.1f} MB", highlight=False, soft_wrap=True)
