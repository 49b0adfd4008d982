"""lab pool: how many connections a service needs, by trying sizes of its pool under crowds."""

from __future__ import annotations

from typing import Annotated

import typer

from archzero_lab.commands.options import Seed
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.settings import load_settings
from archzero_lab.terminal import console, relative


def pool(
    size: Annotated[
        list[int] | None, typer.Option(min=1, help="Connections in the pool (repeated); 1, 2, 5, 15, 50.")
    ] = None,
    users: Annotated[
        list[int] | None, typer.Option(min=1, help="Who ask again as soon as they are answered (repeated); 1, 8, 50.")
    ] = None,
    arm: Annotated[str, typer.Option(help="Of archzero.toml, or of the card service (indexes).")] = "",
    cards: Annotated[int, typer.Option(min=100, help="How many cards the card service holds.")] = 20_000,
    seconds: Annotated[float, typer.Option(min=0.5, help="A size, a crowd and a round.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="Each in an order of its own.")] = 3,
    seed: Seed = 1,
) -> None:
    """Try sizes of a connection pool under crowds; find the knee.

    Builds that differ in that alone, up side by side on one database. Writes pool.html into a run's folder.
    """
    from archzero_lab.bootstrap.system import system_here
    from archzero_lab.jobs.studies.pool_sweep import knee_in_words, knees, sweep_pool
    from archzero_lab.jobs.studies.study_pages import pool_page, sizes_table
    from archzero_lab.progress import Reporter
    from archzero_lab.run_folders.run import Run
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack

    system = system_here()
    system.require_ready()
    sizes, crowds = sorted(set(size or (1, 2, 5, 15, 50))), sorted(set(users or (1, 8, 50)))
    with exclusive("pool"), running_stack(load_settings()) as stack, Reporter(console).work("pool") as tell:
        cells = sweep_pool(
            system, stack, sizes, crowds, arm=arm, rows=cards, seconds=seconds, rounds=rounds, seed=seed, progress=tell
        )
    table, best = sizes_table(cells), knees(cells)
    shown = WholeTable(*(str(name) for name in table), title=f"{system.title}: sizes of its pool")
    for row in table.itertuples(index=False):
        shown.add_row(*(f"{value:g}" for value in row))
    console.print(shown)
    console.print(f"  {knee_in_words(best)}", highlight=False)
    page = Run.new("pool").write_page(pool_page(cells, system.title), "pool.html")
    console.print(f"drawn: {relative(page)}", highlight=False, soft_wrap=True)
