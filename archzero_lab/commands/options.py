"""Options that several commands take, with one meaning each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from archzero_lab.errors import SettingsError

Cards = Annotated[int | None, typer.Option(min=100, help="How many cards to load.")]
ServedCards = Annotated[
    int | None, typer.Option(min=100, help="How many cards to load; without it 20,000, or the whole inventory.")
]
InventoryFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Cards: JSON Lines or CSV, gzip or not.")
]
RelationshipsFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Relationships of the inventory.")
]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same rows and same order of everything.")]
RunName = Annotated[str, typer.Argument(help="A run's id, its folder, or latest.")]
SourceUrl = Annotated[
    str,
    typer.Option(
        envvar="ARCHZERO_SOURCE_URL", help="A database of your own (of archzero.toml's); it is copied, never changed."
    ),
]
QueriesFolder = Annotated[Path | None, typer.Option(help="A folder of .sql files, a statement each.")]
BusiestStatements = Annotated[
    int, typer.Option(min=0, help="The N statements that took the most time of that database.")
]
CopyVersion = Annotated[
    int, typer.Option(help="Copy onto PostgreSQL of this major version, fetched by npm where the machine has none.")
]
CopyOn = Annotated[
    str, typer.Option(help="Put the copy on this scratch server (a superuser's URL); the copy is dropped afterwards.")
]


def own_database(url: str) -> str:
    """A user's database as he gave it, with what his shell adds; what of the shell is not used is told.

    Raises SettingsError where it is neither a URL nor libpq's key=value form.
    """
    from archzero_lab.postgres.connection import connection_parts
    from archzero_lab.postgres.shell_variables import completed, unused

    if not url:
        return url
    connection_parts(url)
    if names := unused():
        sys.stderr.write(f"lab: not used: {', '.join(names)} of the shell; what is meant goes into the URL\n")
    return completed(url)


def settings_of(given: list[str]) -> dict[str, str]:
    """NAME=VALUE as a mapping. Raises SettingsError for another form."""
    pairs = [one.partition("=") for one in given]
    for name, equals, _ in pairs:
        if not (name.strip() and equals):
            raise SettingsError(f"--set {name}: give it as NAME=VALUE")
    return {name.strip(): value for name, _, value in pairs}


def files_of(inventory: Path | None, relationships: Path | None) -> dict[str, Path]:
    """A user's rows, by what they hold."""
    given = {"inventory": inventory, "relationships": relationships}
    return {name: path for name, path in given.items() if path is not None}
