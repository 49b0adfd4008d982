"""./lab indexes: every index of a migration measured, ours or a user's on a copy of their database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from archzero_lab.commands.options import (
    BusiestStatements,
    CopyOn,
    CopyVersion,
    InventoryFile,
    QueriesFolder,
    RelationshipsFile,
    Seed,
    SourceUrl,
    files_of,
    own_database,
    settings_of,
)
from archzero_lab.errors import SettingsError
from archzero_lab.jobs.indexes.verdict import READS_PER_WRITE
from archzero_lab.settings import load_settings
from archzero_lab.terminal import console, relative

if TYPE_CHECKING:
    from archzero_lab.jobs.indexes.request import IndexRequest

_WIDE = 140
"""Columns from which an index is told in one line."""
_STYLE = {"keep": "green", "keep (constraint)": "green", "keep (needed besides)": "green", "undecided": "yellow"}


def indexes(
    cards: Annotated[int, typer.Option(min=100, help="Number of cards, for phase 5's own migration.")] = 100_000,
    inventory: InventoryFile = None,
    relationships: RelationshipsFile = None,
    database_url: SourceUrl = "",
    migration: Annotated[Path | None, typer.Option(help="The SQL that makes the indexes to judge.")] = None,
    queries: QueriesFolder = None,
    from_pg_stat_statements: BusiestStatements = 0,
    values_from: Annotated[
        Path | None, typer.Option(help="That server's log (csvlog or stderr): the parameters' real values.")
    ] = None,
    sample: Annotated[
        int,
        typer.Option(min=0, help="Copy so many rows of each table and those they refer to; plans may differ."),
    ] = 0,
    plans_only: Annotated[
        bool, typer.Option("--plans-only", help="Copy schema and statistics, no row: the plans before and after.")
    ] = False,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Change that database: apply the migration to it; asks for its name.")
    ] = False,
    server_version: CopyVersion = 0,
    copy_on: CopyOn = "",
    role: Annotated[
        str, typer.Option(help="Run the files' statements as this role of that server, bound by its policies.")
    ] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting of the sessions: what policies ask for.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End where a statement cannot be measured.")] = False,
    reads_per_write: Annotated[
        float, typer.Option(min=0, help="An index that pays only above it is too dear.")
    ] = READS_PER_WRITE,
    budget: Annotated[str, typer.Option(help="90s, 5m, 1h for the whole: fewer blocks, six at least.")] = "",
    blocks: Annotated[int, typer.Option(min=6, help="Paired blocks of each measurement.")] = 10,
    seed: Seed = 1,
) -> None:
    """Judge each index of a migration: keep, drop, subsumed, too dear.

    Measures reads with it hidden, writes with it dropped. Writes a page.
    """
    if in_place:
        _apply_in_place(database_url, migration)
        return
    from archzero_lab.bootstrap.system import card_service, team_database
    from archzero_lab.jobs.indexes.budget import seconds_of
    from archzero_lab.jobs.indexes.frames import answer, check
    from archzero_lab.jobs.indexes.measure import measure_indexes
    from archzero_lab.jobs.indexes.page import warnings_of
    from archzero_lab.jobs.indexes.request import IndexRequest, check_request
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.copy_server import WantedServer
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack

    request = IndexRequest(
        cards, seed, blocks, reads_per_write, own_database(database_url or team_database()), migration, queries,
        from_pg_stat_statements, files_of(inventory, relationships), sample,
        WantedServer(server_version, own_database(copy_on)), strict, values_from,
        seconds_of(budget) if budget else 0.0, role, settings_of(set_ or []),
    )  # fmt: skip
    check_request(request)
    if plans_only and sample:
        raise SettingsError("--plans-only copies no row and --sample some: use one of the two")
    if plans_only:
        _show_plans(request)
        return
    with exclusive("indexes"), running_stack(load_settings(), redis=not request.database_url) as stack:
        run, experiment = measure_indexes(card_service(), stack, request, Reporter(console))
    facts = run.index_experiment
    for line in facts["left_out"]:
        console.print(f"not on the copy: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    for row in facts["twin"]:
        if not row["same"]:
            console.print(f"{row['what']}: {row['copy']} on the copy, {row['source']} on the source", style="yellow",
                          highlight=False, markup=False, soft_wrap=True)  # fmt: skip
    for line in (*warnings_of(facts), *(f"not measured: {reason}" for reason in experiment.let_go)):
        console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
    wide = max(len(finding.name) for finding in experiment.findings)
    narrow = console.is_terminal and console.width < _WIDE
    for finding in experiment.findings:
        style = _STYLE.get(finding.verdict.value, "bold red")
        cost = finding.cost.in_words if finding.cost is not None else ""
        ends = finding.cost.ends_heap_only if finding.cost is not None else ""
        hot = f"; ends heap-only updates of {ends}" if ends else ""
        if narrow:  # a line that the terminal breaks where it likes is read by nobody
            console.print(Text(f"{finding.name}  ").append(finding.verdict.value, style))
            size = f"{finding.bytes / 1e6:.1f} MB" + (f", {cost}" if cost else "")
            console.print(Padding(Text(f"{size}; {finding.why}{hot}"), (0, 0, 0, 4)))
            continue
        line = Text(f"{finding.name:<{wide}} {finding.bytes / 1e6:8.1f} MB {cost:>26}  ")
        console.print(line.append(finding.verdict.value, style).append(f": {finding.why}{hot}"), soft_wrap=True)
    for line in experiment.differences:
        console.print(line, style="bold red", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{answer(facts)}; {experiment.bytes / 1e6:.1f} MB, {experiment.kept_bytes / 1e6:.1f} MB of it to keep",
        highlight=False,
    )
    console.print(check(facts), style="yellow" if experiment.slower_without_dropped else "", highlight=False,
                  soft_wrap=True)  # fmt: skip
    console.print(f"page: {relative(run.path / 'index.html')}", highlight=False, soft_wrap=True)


def _apply_in_place(database_url: str, migration: Path | None) -> None:
    from archzero_lab.postgres.connection import connection_parts
    from archzero_lab.postgres.in_place import apply_in_place, read_migration

    if not database_url or migration is None or not migration.is_file():
        raise SettingsError("--in-place needs --database-url URL and --migration FILE.sql")
    statements = read_migration(migration)
    database_url = own_database(database_url)
    parts = connection_parts(database_url)
    name = str(parts.get("dbname", ""))
    console.print(f"{len(statements)} statements for database {name} at {parts.get('host', 'the local socket')}",
                  highlight=False)  # fmt: skip
    if typer.prompt("This changes it. Its name, to go on") != name:
        raise SettingsError("another name: nothing was changed")
    apply_in_place(
        database_url, statements, lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)
    )
    console.print(f"applied {len(statements)} statements to {name}", highlight=False)


def _show_plans(request: IndexRequest) -> None:
    from archzero_lab.jobs.indexes.plans_only import plan_changes
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack

    if not request.database_url:
        raise SettingsError("--plans-only is for a database of your own: give --database-url and --migration")
    with exclusive("indexes"), running_stack(load_settings(), redis=False) as stack:
        changes = plan_changes(stack, request, Reporter(console))
    for change in changes:
        before, after = change.costs
        used = ", ".join(change.after.indexes) or "no index"
        same = change.before.indexes == change.after.indexes
        console.print(
            f"{change.statement}: cost {before:,.0f} → {after:,.0f}, {'still' if same else 'then'} {used}",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        for step in change.steps():
            console.print(f"  {step}", highlight=False, markup=False, soft_wrap=True)
    console.print("the planner's own estimates on restored statistics; nothing was run, nothing was timed",
                  highlight=False)  # fmt: skip
