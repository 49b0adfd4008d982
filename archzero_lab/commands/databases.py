"""The commands on a database: migrate up, down, status and mend; analyze."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from archzero_lab.commands.help import PlainCommand, WholeCommands
from archzero_lab.commands.options import own_database
from archzero_lab.errors import LabError, SettingsError
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.settings import load_settings
from archzero_lab.terminal import console

migrate_app = typer.Typer(
    cls=WholeCommands, help="Apply or roll back the index sets: phase 5's, v2.", no_args_is_help=True
)


@migrate_app.command("up", cls=PlainCommand)
def migrate_up(
    database_url: Annotated[str, typer.Option(envvar="ARCHZERO_MIGRATE_URL")] = "",
    index_set: Annotated[Literal["phase5", "v2"], typer.Option(help="v2 goes on from phase 5's.")] = "phase5",
) -> None:
    """Apply an index set, one CONCURRENTLY build after the other."""
    from archzero_lab.postgres.migrations import Migrations

    migrations = Migrations(_migration_url(database_url))
    applied = migrations.up(
        lambda name, done, total: console.print(f"{done + 1}/{total} {name}", highlight=False), index_set=index_set
    )
    console.print(f"applied {len(applied)} migrations" if applied else "nothing to apply")


@migrate_app.command("down", cls=PlainCommand)
def migrate_down(database_url: Annotated[str, typer.Option(envvar="ARCHZERO_MIGRATE_URL")] = "") -> None:
    """Roll all that is applied back."""
    from archzero_lab.postgres.migrations import Migrations

    rolled_back = Migrations(_migration_url(database_url)).down()
    console.print(f"rolled back {len(rolled_back)} migrations" if rolled_back else "nothing to roll back")


@migrate_app.command("status", cls=PlainCommand)
def migrate_status(database_url: Annotated[str, typer.Option(envvar="ARCHZERO_MIGRATE_URL")] = "") -> None:
    """Which migrations are applied, and whether what index set v2 keeps beside the cards holds."""
    import psycopg

    from archzero_lab.postgres.connection import connect
    from archzero_lab.postgres.insights import reading
    from archzero_lab.postgres.migrations import Migrations
    from archzero_lab.systems.arczero.search_upkeep import has_search, look

    url = _migration_url(database_url)
    for state in Migrations(url).status():
        console.print(f"{'applied' if state.applied else 'pending'}  {state.id}", highlight=False)
    with connect(url, autocommit=True) as connection:
        try:
            with reading(connection):
                upkeep = look(connection) if has_search(connection) else None
        except psycopg.errors.QueryCanceled:
            console.print("to hold counts and words against the cards takes more than 30 s: not done", highlight=False)
            return
    if upkeep is not None:
        advice = "" if upkeep.holds and not upkeep.to_forget else "; mend it with ./lab migrate mend"
        console.print(upkeep.in_words + advice, highlight=False, soft_wrap=True)


@migrate_app.command("mend", cls=PlainCommand)
def migrate_mend(database_url: Annotated[str, typer.Option(envvar="ARCHZERO_MIGRATE_URL")] = "") -> None:
    """Learn the words and count the cards anew, where rows were loaded without triggers; forget words no card has.

    For index set v2. Writers go on meanwhile, and wait only while the cards are counted.
    """
    from archzero_lab.postgres.connection import connect
    from archzero_lab.systems.arczero.search_upkeep import look, mend

    with connect(_migration_url(database_url)) as connection:
        before = mend(connection)
        console.print("before: " + before.in_words, highlight=False, soft_wrap=True)
        console.print("now: " + look(connection).in_words, highlight=False, soft_wrap=True)


@migrate_app.command("lint", cls=PlainCommand)
def migrate_lint(
    files: Annotated[list[Path] | None, typer.Argument(help="SQL files; ours unless given.")] = None,
    database_url: Annotated[
        str, typer.Option(envvar="ARCHZERO_SOURCE_URL", help="Also against this schema (one file); it is only read.")
    ] = "",
    with_rows: Annotated[
        bool,
        typer.Option("--with-rows", help="Copy its rows too, and tell each statement's locks and time on the copy."),
    ] = False,
) -> None:
    """Lint migrations by squawk, and against a schema; exit 1 on a fault.

    The schema adds: subsumed by another index, ends heap-only updates, INVALID leftovers; the rows: locks and times.
    """
    from archzero_lab.jobs.indexes.lint import lint_files, lint_schema
    from archzero_lab.jobs.indexes.lint_locks import locks_taken
    from archzero_lab.postgres.migrations import MIGRATIONS
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack

    chosen = files or [path for path in sorted(MIGRATIONS.glob("*.sql")) if not path.name.endswith(".rollback.sql")]
    database_url = own_database(database_url)
    if database_url and len(chosen) != 1:
        raise SettingsError("--database-url goes with one file: the migration to try on that schema")
    faults = lint_files(chosen)
    if with_rows and not database_url:
        raise SettingsError("--with-rows copies a database: name it with --database-url")
    if database_url:
        with exclusive("migrate lint"), running_stack(load_settings(), redis=False) as stack:
            faults += lint_schema(
                stack, database_url, chosen[0],
                lambda text: console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True),
            )  # fmt: skip
            for taken in locks_taken(stack, database_url, chosen[0]) if with_rows else []:
                console.print(taken.in_words, highlight=False, markup=False, soft_wrap=True)
    for fault in faults:
        advice = f"; {fault.advice}" if fault.advice else ""
        console.print(f"{fault.where}: {fault.rule}: {fault.message}{advice}", highlight=False, markup=False,
                      soft_wrap=True)  # fmt: skip
    console.print(f"{len(faults)} faults in {len(chosen)} files", highlight=False)
    raise typer.Exit(1 if faults else 0)


def analyze(
    database_url: Annotated[str, typer.Option(help="Default: that of archzero.toml, else what `up` serves.")] = "",
) -> None:
    """Say what to do about a database's indexes and statements; read only.

    Then index use, sizes, sequential scans, slow statements.
    """
    from archzero_lab.bootstrap.system import team_database
    from archzero_lab.postgres.advice import advise
    from archzero_lab.postgres.connection import connect
    from archzero_lab.postgres.index_catalog import list_indexes
    from archzero_lab.postgres.index_purposes import purposes
    from archzero_lab.postgres.insights import analyze as run_analysis
    from archzero_lab.postgres.insights import reading, statistics_since

    with connect(_migration_url(database_url or team_database()), autocommit=True) as connection:
        tables = run_analysis(connection)
        with reading(connection):
            indexes, needed, since = list_indexes(connection), purposes(connection), statistics_since(connection)
    advice = advise(tables, indexes, needed, since)
    console.print("What to do" if advice else "What to do: nothing")
    for mark in advice:  # lines, not a table: a name that is cut short cannot be copied
        console.print(f"  {mark.mark:<15} {mark.about}: {mark.seen}; {mark.do}", highlight=False, markup=False,
                      soft_wrap=True)  # fmt: skip
    for answer in tables:
        shown = [at for at, name in enumerate(answer.columns) if name != "oid"]
        table = WholeTable(*(answer.columns[at] for at in shown), title=answer.title)
        for row in answer.rows[:40]:  # names are a stranger's: no markup
            table.add_row(*(Text("" if row[at] is None else str(row[at])) for at in shown))
        console.print(table if answer.rows else f"{answer.title}\n  none", highlight=False)


def _migration_url(given: str) -> str:
    from archzero_lab.servers.stack import kept_stack
    from archzero_lab.systems.arczero.portfolios import arm_urls

    if given:
        return own_database(given)
    stack = kept_stack(load_settings())
    if stack is None or "treatment" not in arm_urls(stack, "up"):
        raise LabError("no database: start one with ./lab up, or name one with --database-url")
    return arm_urls(stack, "up")["treatment"]
