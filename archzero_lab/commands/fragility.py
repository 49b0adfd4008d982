"""lab fragility: which statements are one ANALYZE away from a plan that does far more work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from archzero_lab.commands.options import (
    BusiestStatements,
    CopyOn,
    CopyVersion,
    QueriesFolder,
    SourceUrl,
    own_database,
)
from archzero_lab.errors import SettingsError
from archzero_lab.settings import load_settings
from archzero_lab.terminal import console

if TYPE_CHECKING:
    from archzero_lab.jobs.indexes.plan_shapes import Found

_STYLE = {"robust": "green", "fragile": "bold red", "undecided": "yellow"}


def fragility(
    database_url: SourceUrl = "",
    queries: QueriesFolder = None,
    from_pg_stat_statements: BusiestStatements = 0,
    analyzes: Annotated[int, typer.Option(min=5, help="How often statistics are made anew at each target.")] = 100,
    target: Annotated[
        list[int] | None, typer.Option(min=1, max=10_000, help="Statistics target (repeated); 100 and 10.")
    ] = None,
    server_version: CopyVersion = 0,
    copy_on: CopyOn = "",
) -> None:
    """Make statistics anew many times; count plans and what they read.

    On a copy. Exits 1 where a statement got a plan that reads far more than its best one; tries what cures it.
    """
    from archzero_lab.bootstrap.system import team_database
    from archzero_lab.jobs.indexes.fragility import plan_fragility
    from archzero_lab.jobs.indexes.plan_shapes import TARGETS
    from archzero_lab.jobs.indexes.request import IndexRequest
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.copy_server import WantedServer
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack

    url = own_database(database_url or team_database())
    if not url or not (queries or from_pg_stat_statements):
        raise SettingsError("give --database-url, and --queries DIR or --from-pg-stat-statements N")
    request = IndexRequest(
        database_url=url, queries=queries, from_statistics=from_pg_stat_statements,
        server=WantedServer(server_version, own_database(copy_on)),
    )  # fmt: skip
    with exclusive("fragility"), running_stack(load_settings(), redis=False) as stack:
        result = plan_fragility(stack, request, analyzes, target or TARGETS, Reporter(console))
    _print(result)
    if any(seen.dear for seen in result.seen):
        raise typer.Exit(1)


def _print(result: Found) -> None:
    """Each case at each target in a line, the fragile ones first, with the cures that were tried."""
    order = {"fragile": 0, "undecided": 1, "robust": 2}
    for seen in sorted(result.seen, key=lambda one: order[one.verdict.value]):
        line = Text(seen.verdict.value, _STYLE[seen.verdict.value])
        low, high = seen.interval
        share = f"; dear in {low:.1%} to {high:.1%} of ANALYZEs" if seen.dear else ""
        line.append(f"  {seen.case} (target {seen.target}): {seen.in_words}{share}", "default")
        console.print(line, soft_wrap=True, highlight=False)
        for cure in result.cures.get(seen.case, ()) if seen.dear else ():
            if cure.seen.target == seen.target:
                dear = sum(cure.seen.shapes[shape] for shape in cure.seen.dear)
                console.print(
                    Text(f"    with {cure.statement}: {dear} of {cure.seen.number} dear"),
                    soft_wrap=True,
                    highlight=False,
                )
    for reason in result.let_go:
        console.print(f"not planned: {reason}", style="yellow", highlight=False, markup=False, soft_wrap=True)
