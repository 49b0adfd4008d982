"""lab verify-failover: what a service loses, and for how long, while its database and its Redis change hands."""

from __future__ import annotations

from typing import Annotated

import typer

from archzero_lab.commands.options import Seed
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.settings import load_settings
from archzero_lab.terminal import console


def verify(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to go on.")] = 5.0,
    without: Annotated[
        list[str] | None, typer.Option(help="Test only: take a guard out; the check must then find something.")
    ] = None,
    of: Annotated[
        str | None, typer.Option(help="Another way to choose a replica: every-select, sticky (2 s after a write).")
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help="Only this one (may be repeated).")] = None,
    asynchronous: Annotated[
        bool, typer.Option("--asynchronous", help="Commits wait for no follower: lost writes are counted.")
    ] = False,
    redis: Annotated[
        str,
        typer.Option(help="Its Redis: single, sentinel (three of each), cluster (three masters, as many followers)."),
    ] = "single",
    seed: Seed = 1,
) -> None:
    """Let a database of three servers change hands under load; check.

    Primaries are killed or stopped and come back, followers die and lag, Redis is hurt; three processes write and read
    through the cache and past it. Exits 1 where an acknowledged write is lost (--asynchronous: is told) or doubled, or
    a read is older than what was acknowledged, written or read by its session before, or of a history that is gone.
    """
    from archzero_lab.bootstrap.system import card_service
    from archzero_lab.jobs.consistency.failover import verify_failover
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack

    with exclusive("verify-failover"), running_stack(load_settings()) as stack, Reporter(console).work("work") as tell:
        result = verify_failover(
            card_service().failovers, stack, minutes=minutes, seed=seed, without=tuple(without or ()), of=of,
            kinds=fault or (), synchronous=not asynchronous, redis=redis, progress=tell,
        )  # fmt: skip
    rows = result.by_fault()
    table = WholeTable(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    verdict = result.verdict
    console.print(
        f"{len(result.faults)} faults, {result.promotions} promotions in {result.seconds:.0f} s; acknowledged"
        f" {verdict.writes:,} writes, read {verdict.reads:,}; refused {result.failed_writes:,} writes,"
        f" {result.failed_reads:,} reads",
        highlight=False,
    )
    console.print(", ".join(f"{name} {number}" for name, number in verdict.counts().items()), highlight=False)
    if not result.works:
        console.print("after the last fault nothing could be written, or nothing read", highlight=False)
    if not result.works or not verdict.holds or (verdict.lost and not asynchronous):
        raise typer.Exit(1)
