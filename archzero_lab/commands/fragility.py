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
    from archzero_lab.jobs.indexes.plan_shapes import Found, Seen

_STYLE = {"robust": "green", "fragile": "bold red", "undecided": "yellow"}


def fragility(
    database_url: SourceUrl = "",
    queries: QueriesFolder = None,
    from_pg_stat_statements: BusiestStatements = 0,
    analyzes: Annotated[int, typer.Option(min=5, help="How often statistics are made anew at each target.")] = 100,
    target: Annotated[
        list[int] | None, typer.Option(min=1, max=10_000, help="Statistics target (repeated); 100, 10 and 1000.")
    ] = None,
    server_version: CopyVersion = 0,
    copy_on: CopyOn = "",
) -> None:
    """Find statements that one ANALYZE can give a far worse plan.

    Runs ANALYZE many times on a copy. Exits 1 if a statement got a plan that does far more than its best; tries cures.
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
    """Each statement with its verdict, the fragile first: its dear plans, with the cures that were tried."""
    from archzero_lab.jobs.indexes.plan_shapes import worst_verdict

    by_statement: dict[str, list[Seen]] = {}
    for seen in result.seen:
        by_statement.setdefault(seen.case.split(", ")[0], []).append(seen)
    order = {"fragile": 0, "undecided": 1, "robust": 2}
    for name, every in sorted(by_statement.items(), key=lambda one: order[worst_verdict(one[1]).value]):
        verdict = worst_verdict(every).value
        calm = [seen for seen in every if not seen.dear]
        line = Text(verdict, _STYLE[verdict])
        line.append(f"  {name}", "bold default")
        if calm:
            rest = "the others" if len(calm) < len(every) else f"in all {len(every)} cases"
            line.append(f": {rest}, {max(calm, key=_most).in_words}", "default")
        console.print(line, soft_wrap=True, highlight=False)
        for seen in every:
            if seen.dear:
                _print_seen(seen, result)
    for target in sorted({seen.target for seen in result.seen if seen.target is not None and not seen.by_chance}):
        console.print(
            f"target {target}: ANALYZE reads every row of these tables, so each statement was planned once",
            highlight=False,
            soft_wrap=True,
        )
    for reason in result.let_go:
        console.print(f"not planned: {reason}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _most(seen: Seen) -> float:
    return max(work.cost for works in seen.work.values() for work in works.values())


def _print_seen(seen: Seen, result: Found) -> None:
    """One case at one target, with the cures that were tried there."""
    low, high = seen.interval
    share = f"; dear in {low:.1%} to {high:.1%} of ANALYZEs" if seen.dear and seen.by_chance else ""
    console.print(
        f"  {seen.case} ({seen.state}): {seen.in_words}{share}", soft_wrap=True, highlight=False, markup=False
    )
    for cure in result.cures.get(seen.case, ()):
        if cure.seen.target == seen.target:
            dear = sum(cure.seen.shapes[shape] for shape in cure.seen.dear)
            said = f"    with {cure.statement}: {dear} of {cure.seen.number} dear"
            console.print(said, soft_wrap=True, highlight=False, markup=False)
