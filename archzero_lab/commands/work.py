"""lab work and lab gate --work: what requests make PostgreSQL and Redis do, kept in a file and held against it."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from archzero_lab.commands.options import Seed
from archzero_lab.errors import LabError, SettingsError, unknown_name
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.settings import CHECKOUT, COMMAND, IN_CHECKOUT, PROJECT_FILE, load_settings
from archzero_lab.terminal import console

if TYPE_CHECKING:
    from archzero_lab.jobs.work.counted import Counted
    from archzero_lab.jobs.work.measure import WorkRequest
    from archzero_lab.run_folders.gate import GateResult
    from archzero_lab.systems.system import System
    from archzero_lab.systems.team.system import TeamSystem

_CARDS, _LIMIT = 20_000, 50_000
_SIZES = "1000,3000,10000,30000,100000"
_HERE = "here"
"""The arm of a tree that archzero.toml names none for."""


def work(
    save: Annotated[
        Path | None, typer.Option(help="Write the count, for `gate --work` to hold the code against.")
    ] = None,
    arm: Annotated[str, typer.Option(help="Which arm; of a team's own service the tree as it lies here.")] = "",
    only: Annotated[list[str] | None, typer.Option(help="A kind of request; repeat for several.")] = None,
    requests: Annotated[int, typer.Option(min=4, max=1_000, help="Requests of each kind.")] = 20,
    cards: Annotated[int, typer.Option(min=100, help="How many cards, of the card service.")] = _CARDS,
    growth: Annotated[
        str, typer.Option(help="Sizes such as 1000,3000,10000,30000: how the work grows. Of your own: rows a table.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="With --growth: blocks that a request may read.")] = _LIMIT,
    seed: Seed = 1,
) -> None:
    """Count what each kind of request makes PostgreSQL and Redis do.

    The same numbers on any machine, busy or not; `gate --work` holds later code against them.
    """
    from archzero_lab.jobs.work.baseline import read_baseline, write_baseline
    from archzero_lab.jobs.work.measure import WorkRequest

    if growth and save is not None:
        raise SettingsError("--save keeps one count and --growth makes several: leave one of them out")
    tolerance = read_baseline(save).tolerance if save is not None and save.exists() else None
    request = WorkRequest(arm, cards, seed, requests, tuple(only or ()))
    if growth:
        _show_growth(request, _sizes(growth), limit)
        return
    counted = _count(request, "")
    _show(counted)
    if save is not None:
        size = write_baseline(save, counted, tolerance)
        console.print(f"written: {save} ({size / 1000:.1f} kB); {COMMAND} gate --work {save}", highlight=False)


def _sizes(text: str) -> list[int]:
    from archzero_lab.jobs.work.growth import LEAST_SIZES

    parts = [part.strip().replace("_", "") for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= 100 for part in parts) or len(set(parts)) < LEAST_SIZES:
        raise SettingsError(f"--growth {text}: give {LEAST_SIZES} sizes or more of 100 rows or more, such as {_SIZES}")
    return sorted({int(part) for part in parts})


def _show_growth(request: WorkRequest, sizes: list[int], limit: int) -> None:
    """Count at each size; tell the law of each kind of request that reads, the steepest first. Exits 1 for findings."""
    from archzero_lab.jobs.work.growth import laws

    counts = {size: _count(replace(request, size=size, reads_only=True), "", size) for size in sizes}
    growth = laws(counts, limit)
    columns = (
        *(f"{size:,}" for size in (growth[0].sizes if growth else sizes)),
        "grows",
        "exponent",
        "95 % interval",
        f"{limit:,} blocks at",
        "plans",
    )
    table = WholeTable("request", *columns, title="shared blocks a request, by rows")
    for law in growth:
        at = "" if law.limit_at is None else f"{float(f'{law.limit_at:.2g}'):,.0f} rows"
        known = not math.isnan(law.exponent)
        table.add_row(
            Text(law.kind, "bold red" if law.finding else ""), *(f"{blocks:,.0f}" for blocks in law.blocks), law.word,
            f"{law.exponent:.2f}" if known else "", f"{law.low:.2f} to {law.high:.2f}" if known else "", at,
            "; ".join(law.turned),
        )  # fmt: skip
    console.print(table)
    for law in growth:
        if law.in_a_loop:
            sent = ", ".join(f"{number:.3g}" for number in law.statements)
            console.print(f"{law.kind}: more rows take more statements ({sent} a request)", style="red", markup=False)
    if any(law.finding for law in growth):
        raise typer.Exit(1)


def gate_work(file: Path, candidate: str, accept: str) -> GateResult:
    """Count again as a file says and hold the count against it; `accept` is why the new one takes its place."""
    from archzero_lab.bootstrap.system import team_here
    from archzero_lab.jobs.work.baseline import read_baseline, write_baseline
    from archzero_lab.jobs.work.measure import WorkRequest
    from archzero_lab.jobs.work.verdict import judge_work

    baseline = read_baseline(file)
    was = baseline.counted
    # a team's arm may be another revision; what is judged is this tree as it lies here, or the candidate
    judged = candidate or ("." if team_here() is not None else "")
    counted = _count(WorkRequest(was.arm, was.size, was.seed, was.asked, tuple(was.only)), judged)
    if counted.system != was.system:
        raise LabError(f"{file.name} is a count of {was.system}, and here is {counted.system}")
    verdict = judge_work(baseline, counted, file, candidate or "this tree")
    if candidate and team_here() is None:
        verdict.warnings.append(f"databases are those of this tree's migrations, the code is that of {candidate}")
    if accept:
        write_baseline(file, replace_reason(counted, accept), baseline.tolerance)
        verdict.warnings.append(f"accepted: {file} holds this count now")
    return verdict


def replace_reason(counted: Counted, reason: str) -> Counted:
    """A count that says why it was accepted."""
    import msgspec

    return msgspec.structs.replace(counted, reason=reason)


def _count(request: WorkRequest, candidate: str, rows: int = 0) -> Counted:
    """Count on servers of our own: a team's build, on so many `rows` a table where given, or the card service's arm."""
    from archzero_lab.bootstrap.system import card_service, team_here
    from archzero_lab.jobs.studies.builds import checkout
    from archzero_lab.jobs.work.measure import count_work
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.counting_stack import counting_stack
    from archzero_lab.servers.exclusive import exclusive

    system: System
    team, reporter = team_here(), Reporter(console)
    with ExitStack() as closing:
        if team is not None:
            build = _build_of(team, request.arm, candidate)
            system = team.of_arm(request.arm, build)
            request = replace(request, arm=next(iter(system.arms)), size=0, sample=rows)
            system.require_ready()
        else:
            system = card_service()
            request = replace(request, arm=request.arm or system.default_arm)
            if request.arm not in system.arms:
                raise unknown_name("arm", request.arm, list(system.arms))
            if candidate and not IN_CHECKOUT:
                raise LabError(f"a build of the card service is one of its repository's: call {COMMAND} there")
            if candidate and (tree := closing.enter_context(checkout(candidate))) != CHECKOUT:
                request = replace(request, code=tree)
        closing.enter_context(exclusive("work"))
        counting = closing.enter_context(counting_stack(load_settings()))
        tell = closing.enter_context(reporter.work("work"))
        return count_work(system, counting, request, loading=reporter, progress=tell)


def _build_of(team: TeamSystem, arm: str, candidate: str) -> str:
    """Which build of a team's service is counted. Raises LabError where there is none to start."""
    known = team.project.arms
    if arm and arm not in known and arm != _HERE:
        raise unknown_name("arm", arm, list(known))
    build = candidate or (known[arm].build if arm in known else ".")
    if not build or not team.project.service.start or team.project.database is None:
        raise LabError(
            f"what is counted is a build on a copy of its own, not a service that runs already: {PROJECT_FILE} needs"
            " [service] start and [database], and the arm a build"
        )
    return build


def _show(counted: Counted) -> None:
    table = WholeTable("request", "asked", "statements", "rows", "blocks", "written", "Redis", "bytes", lead=["asked"],
                  title="what one request makes PostgreSQL and Redis do")  # fmt: skip
    for name, kind in counted.kinds.items():
        passes = (
            [("", kind.first)] if kind.writes or kind.again is None else [("first", kind.first), ("again", kind.again)]
        )
        for which, one in passes:
            rows = sum(statement.rows for statement in one.statements.values() if not statement.inner)
            redis = sum(command.calls for command in one.redis.values())
            table.add_row(
                Text(name), which,
                *(_one(value, kind.counted) for value in (one.calls, rows, one.blocks)),
                _one(sum(one.wal.values()), kind.counted), _one(redis, kind.counted),
                "" if one.bytes is None else _one(one.bytes, kind.counted),
            )  # fmt: skip
    console.print(table)
    if counted.background:
        console.print(f"background work of the service, not counted: {len(counted.background)}", highlight=False)
        for text in counted.background:
            console.print(f"  {text}", highlight=False, markup=False)


def _one(number: int, requests: int) -> str:
    value = number / requests
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"
