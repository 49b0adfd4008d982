"""lab replicas: a command on a primary and a replica that lags; what it read too early."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archzero_lab.errors import SettingsError
from archzero_lab.settings import load_settings
from archzero_lab.terminal import console, relative

if TYPE_CHECKING:
    from archzero_lab.jobs.replicas.run import Place
    from archzero_lab.servers.replicas import Lag

_LAG = re.compile(r"(\d+)(ms|s)")
_MOST_TEXT = 200


def replicas(
    command: Annotated[list[str], typer.Argument(help="A service or a test suite, after --.")],
    lag: Annotated[
        str, typer.Option(metavar="TIME", help="500ms, 2s, or paused: nothing is replayed at all.")
    ] = "500ms",
    load: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="SQL that both have before the lag begins.")
    ] = None,
    control: Annotated[
        bool, typer.Option("--control", help="Give the primary for both URLs: no stale read may be reported then.")
    ] = False,
    redis: Annotated[
        bool, typer.Option("--redis", help="A Redis in REDIS_URL, to name what is filled with stale values.")
    ] = False,
    primary_variable: Annotated[str, typer.Option(help="Gets the primary's URL.")] = "DATABASE_URL",
    replica_variable: Annotated[str, typer.Option(help="Gets the replica's URL.")] = "REPLICA_URL",
    as_json: Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write what was found here.")] = None,
) -> None:
    """Run a command on a primary and a lagging replica; name its stale reads.

    The command finds an empty database (or what --load made) by DATABASE_URL and REPLICA_URL. Each read of the replica
    is asked of the primary first: what that had and the replica had not is stale. Exits 1 where the command did not
    see what it had written itself, else as the command does.
    """
    from archzero_lab.jobs.replicas.run import Asked, run_lagged
    from archzero_lab.servers.stack import programs_of, redis_program, registry

    settings, processes = load_settings(), registry()
    request = Asked(
        command, _read_lag(lag), 0 if control else 1, load, primary_variable, replica_variable,
        "REDIS_URL" if redis else "",
    )  # fmt: skip
    try:
        result = run_lagged(programs_of(settings), redis_program(settings) if redis else None, processes, request)
    finally:
        processes.stop_own()
    seen, places = result.seen, result.places()
    console.print(
        f"the command ended with {result.code} after {result.seconds:.0f} s; {seen.reads:,} reads of the replica,"
        f" {len(seen.writes):,} writes, {len(seen.stale):,} stale reads at {len(places)} places",
        highlight=False,
    )
    for place in places:
        _print(place)
    for text, count in seen.undecided.items():
        console.print(f"undecided, {count} times: {text[:_MOST_TEXT]} differs by itself", highlight=False, markup=False)
    if seen.not_compared:
        console.print(f"{seen.not_compared:,} reads could not be asked of the primary", highlight=False)
    if as_json is not None:
        as_json.write_text(json.dumps(
            {"exit": result.code, "reads": seen.reads, "writes": len(seen.writes), "places": [
                {"line": place.line, "path": place.endpoint, "statement": place.statement, "stale": len(place.reads),
                 "own": place.own, "fills": place.fills,
                 "not_seen": sorted({read.cause.statement.text for read in place.reads if read.cause is not None})}
                for place in places
            ]}, indent=2,
        ) + "\n")  # fmt: skip
    raise typer.Exit(1 if any(place.own for place in places) else result.code)


def _print(place: Place) -> None:
    """A place in some lines: where, how often, which statement, what it did not see, what was filled with it."""
    name, _, line = place.line.rpartition(":")
    where = f"{relative(Path(name))}:{line}" if name else "(no Python line)"
    lines = [f"{where}{f' for {place.endpoint}' if place.endpoint else ''}"]
    own = "all" if place.own == len(place.reads) else "none" if not place.own else f"{place.own}"
    lines.append(f"  {len(place.reads)} stale, {own} of what it had written itself: {place.statement[:_MOST_TEXT]}")
    causes = sorted({read.cause.statement.text[:_MOST_TEXT] for read in place.reads if read.cause is not None})
    lines += [f"  not seen: {cause}" for cause in causes]
    if place.fills:
        lines.append(f"  filled in Redis with it: {', '.join(place.fills)}")
    for text in lines:
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _read_lag(text: str) -> Lag:
    from archzero_lab.servers.replicas import Lag

    if text == "paused":
        return Lag(paused=True)
    match = _LAG.fullmatch(text)
    if match is None:
        raise SettingsError(f"--lag {text}: write 500ms, 2s or paused")
    return Lag(ms=int(match[1]) * (1000 if match[2] == "s" else 1))
