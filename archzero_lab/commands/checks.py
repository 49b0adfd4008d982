"""The commands by which the lab checks itself: tests, verify-consistency for the cache, self-check for measuring."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

import typer

from archzero_lab.commands.options import Seed
from archzero_lab.errors import LabError
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.settings import CHECKOUT, IN_CHECKOUT, REPORTS, load_settings
from archzero_lab.terminal import console, relative


def verify(
    reads: Annotated[int, typer.Option(min=1_000, help="Reads over all processes.")] = 200_000,
    without: Annotated[
        list[str] | None, typer.Option(help="Test only: take a guard out; the check must then find violations.")
    ] = None,
    of: Annotated[str | None, typer.Option(help="Another cache library in our place.")] = None,
    seed: Seed = 1,
) -> None:
    """Check that nothing stale is read while Redis fails.

    Exits 1 if a read returned an older value than the last acknowledged write.
    """
    from archzero_lab.bootstrap.system import card_service
    from archzero_lab.jobs.consistency.harness import verify_consistency
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack

    reporter, histories = Reporter(console), card_service().histories
    with exclusive("verify-consistency"), running_stack(load_settings()) as stack:
        with reporter.work("redis") as tell:
            far = verify_consistency(
                histories, stack, reads=reads, seed=seed, without=tuple(without or ()), of=of, progress=tell
            )
        console.print(
            f"{far.verdict.reads:,} reads, {far.verdict.writes:,} writes, {len(far.faults)} faults"
            f" in {far.seconds:.0f} s: {len(far.verdict.violations)} violations",
            highlight=False,
        )
        for violation in far.verdict.violations[:5]:
            read = violation.read
            console.print(f"  {violation.kind}: {read.through} gave version {read.version}, not {violation.expected}")
        if not without and of is None:
            with reporter.work("near cache") as tell:
                near = verify_consistency(
                    histories, stack, reads=max(1_000, reads // 5), seed=seed + 1, near=True, progress=tell
                )
            windows = ", ".join(f"{window} ms: {share:.5%}" for window, share in near.verdict.nines().items())
            console.print(f"near cache, {near.verdict.reads:,} reads, not staler than {windows}", highlight=False)
            if near.verdict.violations:
                raise typer.Exit(1)
    if far.verdict.violations:
        raise typer.Exit(1)


def faults(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to go on.")] = 10.0,
    without: Annotated[
        list[str] | None, typer.Option(help="Test only: take a guard out; something must then not hold.")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="Only this one (may be repeated); 'none' for a soak without any.")
    ] = None,
    promises: Annotated[
        bool,
        typer.Option("--promises", help="Report the waits of other clients, do not fail on them: for busy machines."),
    ] = False,
    seed: Seed = 1,
) -> None:
    """Break everything around a loaded service; check its promises.

    Workers, servers, network, disk, clock, clients that attack: a service of four workers on servers of its own.
    Exits 1 where a write is lost or doubled, a read is stale, other clients are stopped, or memory grows; 3 where this
    machine was too slow to tell.
    """
    from archzero_lab.bootstrap.system import card_service
    from archzero_lab.jobs.consistency.endurance import verify_faults
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack
    from archzero_lab.stats.estimates import quantile

    endures = card_service().endures
    with exclusive("verify-faults"), running_stack(load_settings()) as stack, Reporter(console).work("faults") as tell:
        result = verify_faults(
            endures, stack, minutes=minutes, seed=seed, without=tuple(without or ()), kinds=fault or (), progress=tell
        )
    table = WholeTable("fault", "times", "requests of others", "not 200", "p99", "longest", "well again after")
    for name in sorted({met.fault for met in result.met}):
        requests = result.asked_in(name)
        times = [one.seconds for one in requests] or [0.0]
        back = max(met.back_s for met in result.met if met.fault == name)
        table.add_row(
            name, str(sum(met.fault == name for met in result.met)), f"{len(requests):,}",
            f"{sum(one.status != 200 for one in requests):,}", f"{quantile(times, 0.99) * 1000:,.0f} ms",
            f"{max(times):.1f} s", f"{back:.1f} s",
        )  # fmt: skip
    if result.met:
        console.print(table)
    for name, why in result.left_out.items():
        console.print(f"{name} was left out: {why}", highlight=False)
    recording = result.recording
    acknowledged = sum(not write.refused for write in recording.writes) + len(recording.made)
    console.print(
        f"{len(result.met)} faults in {result.seconds:.0f} s; {acknowledged:,} writes acknowledged,"
        f" {len(recording.reads):,} reads checked; memory {result.before.rss_mb:.0f} -> {result.after.rss_mb:.0f} MB,"
        f" open files {result.before.files} -> {result.after.files}",
        highlight=False,
    )
    for what in (*result.broken, *result.waits):
        console.print(f"  {what}", highlight=False, markup=False)
    if result.broken or (result.waits and not result.slow_machine and not promises):
        raise typer.Exit(1)
    if promises:
        console.print("nothing was lost, doubled or stale; memory and open files were given back")
        return
    if result.slow_machine:
        console.print("inconclusive: this machine was too slow to see how long others wait; nothing was lost or stale")
        raise typer.Exit(3)
    console.print("nothing was lost, doubled or stale, and nobody else was stopped")


def self_check(
    small: Annotated[bool, typer.Option("--small", help="12 blocks instead of 20: for CI.")] = False,
    seed: Seed = 1,
) -> None:
    """Can this machine be trusted? Same arms, known delays.

    Exits 1 where two identical arms came out different or a delay of known size was not found.
    """
    from archzero_lab.bootstrap.system import card_service
    from archzero_lab.jobs.studies.self_check import run_self_check
    from archzero_lab.jobs.studies.self_check_page import delays_frame, same_frame, self_check_page
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack

    with exclusive("self-check"), running_stack(load_settings()) as stack, Reporter(console).work("self-check") as tell:
        result = run_self_check(card_service(), stack, blocks=12 if small else 20, seed=seed, progress=tell)
    console.print(result.in_words, highlight=False)
    for frame in (same_frame(result), delays_frame(result)):
        table = WholeTable(*map(str, (frame.index.name, *frame.columns)), lead=["found"] if "found" in frame else [])
        for name, row in frame.iterrows():
            table.add_row(str(name), *map(str, row))
        console.print(table)
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / "self-check.html"
    path.write_text(self_check_page(result))
    console.print(f"page: {relative(path)}", highlight=False, soft_wrap=True)
    if not result.trustworthy:
        raise typer.Exit(1)


def run_tests(
    arguments: Annotated[list[str] | None, typer.Argument(help="Handed to pytest.")] = None,
) -> None:
    """Run the linters, then pytest on real servers."""
    if not IN_CHECKOUT:
        raise LabError("the tests are not part of the package: clone the repository, and run ./lab test there")
    checks = [
        [sys.executable, "-m", "ruff", "check", "."],
        [sys.executable, "-m", "ruff", "format", "--check", "-q", "."],
        [sys.executable, "-m", "mypy"],
        ["lint-imports", "--no-cache"],
    ]
    if not arguments:
        for check in checks:
            if subprocess.run(check, cwd=CHECKOUT).returncode != 0:
                raise typer.Exit(1)
    # several processes, each with servers of its own: much of the suite waits, and no test's outcome hangs on the time
    # that a machine takes. Files in the order of tests/conftest.py, the longest first
    beside = ["-n", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
    # hundreds of processes are started, which would compile what was edited anew, and each of pytest's all tests
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-m", "pytest", *(arguments or beside)], cwd=CHECKOUT, env=environment)
    raise typer.Exit(done.returncode)
