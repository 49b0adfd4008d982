"""lab compare-servers: one's own statements on two servers, two versions, or under two settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from archzero_lab.commands.options import BusiestStatements, QueriesFolder, Seed, own_database, settings_of
from archzero_lab.errors import SettingsError
from archzero_lab.settings import load_settings
from archzero_lab.terminal import console

if TYPE_CHECKING:
    from archzero_lab.jobs.indexes.request import IndexRequest
    from archzero_lab.jobs.indexes.two_servers import Beside, Met
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.copy_server import WantedServer
    from archzero_lab.servers.stack import Stack

_MOST_LINES = 4


def compare_servers(
    url_a: Annotated[str, typer.Argument(help="A database of your own; it is only read.")],
    url_b: Annotated[str, typer.Argument(help="The same data elsewhere. Without it, --server-version or --set.")] = "",
    queries: QueriesFolder = None,
    from_pg_stat_statements: BusiestStatements = 0,
    server_version: Annotated[
        list[str] | None,
        typer.Option(
            help="Twice: copies of the first database, made alike on PostgreSQL of these major versions (15); npm:15 is"
            " that of npm's package, a folder the server in it."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting of the second side's sessions alone.")
    ] = None,
    blocks: Annotated[int, typer.Option(min=6, help="Interleaved blocks a statement.")] = 10,
    seed: Seed = 1,
) -> None:
    """Your statements on two servers, two versions or under two settings.

    Which plans turned, what each reads and takes. Exits 1 where a statement reads more, is slower or has other rows on
    the second.
    """
    from archzero_lab.jobs.indexes.asked import asked_of
    from archzero_lab.jobs.indexes.request import IndexRequest
    from archzero_lab.jobs.indexes.sides import Side
    from archzero_lab.jobs.indexes.two_servers import beside
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack

    settings = settings_of(set_ or [])
    versions = server_version or []
    if not (queries or from_pg_stat_statements):
        raise SettingsError("give --queries DIR or --from-pg-stat-statements N: what is asked of both")
    if url_b and versions:
        raise SettingsError("give a second URL, or --server-version twice for copies of the first, not both")
    if versions and len(versions) != 2:
        raise SettingsError("give --server-version twice: --server-version 15 --server-version 18")
    if not (url_b or versions or settings):
        raise SettingsError("give a second URL, --server-version twice, or --set NAME=VALUE: what is to be compared?")
    request = IndexRequest(database_url=own_database(url_a), queries=queries, from_statistics=from_pg_stat_statements)
    questions = asked_of(request)
    reporter = Reporter(console)
    with ExitStack() as closing:
        closing.enter_context(exclusive("compare-servers"))
        urls = (request.database_url, own_database(url_b) or request.database_url)
        if versions:
            stack = closing.enter_context(running_stack(load_settings(), redis=False))
            urls = closing.enter_context(_copies(stack, request, versions, reporter))
        with reporter.work("statements") as tell:
            result = beside(
                Side(urls[0]), Side(urls[1], settings), questions.texts, blocks=blocks, seed=seed, progress=tell
            )
    _print(result, questions.let_go, packages=bool(versions))
    if any(one.lost for one in result.met):
        raise typer.Exit(1)


@contextmanager
def _copies(
    stack: Stack, request: IndexRequest, versions: Sequence[str], reporter: Reporter
) -> Iterator[tuple[str, str]]:
    """The same database copied twice, each onto a server of its version, with the same statistics.

    Those of the first are made of all rows and carried to the second, where that takes any (from PostgreSQL 18 on);
    else the second's are made of all rows, too: of samples, two copies' plans could differ by chance.
    """
    from archzero_lab.jobs.indexes.own_copy import copied
    from archzero_lab.postgres.connection import connect
    from archzero_lab.postgres.databases import drop_database
    from archzero_lab.postgres.foreign_copy import OLDEST, TAKES_STATISTICS, statistics_of
    from archzero_lab.postgres.whole_statistics import analyze_whole
    from archzero_lab.servers.copy_server import copy_server

    with ExitStack() as closing:
        urls = []
        for side, version in zip("ab", versions, strict=True):
            wanted = _wanted(version)
            server = closing.enter_context(
                copy_server(stack, request.database_url, wanted, oldest=OLDEST, side=f"beside-{side}")
            )
            name = stack.database_name(f"beside_{side}")
            closing.callback(drop_database, server.url, name)
            copy, _ = copied(server, request, name, reporter)
            with reporter.work("analyze"), connect(copy.url, autocommit=True) as connection:
                analyze_whole(connection)
                takes = connection.info.server_version // 10_000 >= TAKES_STATISTICS
            urls.append(copy.url)
        if takes:
            with statistics_of(urls[0], server.programs) as give:
                assert give is not None, "tools are never older than their server"
                give(urls[1])
        yield urls[0], urls[1]


def _wanted(text: str) -> WantedServer:
    """A server by what was typed: 15, npm:15, or a folder."""
    from archzero_lab.servers.copy_server import WantedServer

    number = text.removeprefix("npm:")
    if number.isdecimal():
        return WantedServer(int(number), fetched=number != text)
    for folder in (Path(text), Path(text) / "bin"):
        if (folder / "postgres").is_file():
            return WantedServer(programs=folder.resolve())
    raise SettingsError(f"--server-version {text}: give a major version (15), npm:15, or a server's folder")


def _print(result: Beside, let_go: list[str], *, packages: bool) -> None:
    """What the sides differ in, then every statement, the worst first, with what its plan does otherwise.

    `packages`: the sides are copies on two servers, which may be one version twice.
    """
    sides = [f"{row.what}: {row.source} and {row.copy}" for row in result.differs]
    sides += [f"{name}: {value} on the second" for name, value in result.settings.items()]
    for side in sides:
        console.print(f"differs  {side}", highlight=False, markup=False, soft_wrap=True)
    if packages and not sides:
        console.print("nothing differs that decides a plan: what is told below is noise", highlight=False)
    if len(sides) > 1:
        console.print(f"the results reflect all {len(sides)} differences: change one at a time to separate them")
    for met in sorted(result.met, key=_order):
        word, style = _said(met)
        line = Text(word, style)
        line.append(f"  {met.case}: {_in_words(met)}", "default")
        console.print(line, soft_wrap=True, highlight=False)
        for step in met.lines()[:_MOST_LINES]:
            console.print(f"    {step}", soft_wrap=True, highlight=False, markup=False)
    for reason in (*let_go, *result.let_go):
        console.print(f"not asked: {reason}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    lost, turned = sum(one.lost for one in result.met), sum(one.turned for one in result.met)
    console.print(
        f"{len(result.met)} cases: {turned} plans turned, {lost} lost,"
        f" {sum(_gained(one) for one in result.met)} gained",
        highlight=False,
    )


def _gained(met: Met) -> bool:
    return not met.lost and met.other_rows is False and "improved" in (met.work.value, met.speed.value)


def _order(met: Met) -> tuple[bool, bool, float]:
    return not met.lost, not met.turned, -(met.time.effect_size if met.time else 1.0)


def _said(met: Met) -> tuple[str, str]:
    """The word for a case, and its colour."""
    if met.failed:
        return "fails", "bold red"
    if met.other_rows:
        return "other rows", "bold red"
    if met.speed.value == "regressed":
        return "slower", "bold red"
    if met.work.value == "regressed":
        return "reads more", "bold red"
    if met.other_rows is None:
        return "undecided", "yellow"
    if met.speed.value == "improved":
        return "faster", "green"
    if met.work.value == "improved":
        return "reads less", "green"
    if met.speed.value == "inconclusive":
        return "undecided", "yellow"
    return ("other plan", "yellow") if met.turned else ("alike", "default")


def _in_words(met: Met) -> str:
    if met.failed:
        return f"the first runs it; {met.failed}"
    if met.time is None:
        return "planned only" + (", otherwise" if met.turned else ", the same")
    one, other = met.first.shared_blocks, met.second.shared_blocks
    blocks = f"{one:,} blocks" if one == other else f"{one:,} → {other:,} blocks"
    time = met.time
    noise = ""
    rows = "; rows within its LIMIT differ, and the whole took too long to compare" if met.other_rows is None else ""
    if met.speed.value == "inconclusive" and met.itself is not None:
        noise = f"; the first beside itself {met.itself.ci_low:.2f} to {met.itself.ci_high:.2f}"
    return (
        f"{time.control * 1000:.3g} → {time.treatment * 1000:.3g} ms, {time.effect_size:.2f} times"
        f" ({time.ci_low:.2f} to {time.ci_high:.2f}){noise}; {blocks}{rows}"
    )
