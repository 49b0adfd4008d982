"""lab up, down, status, serve: the servers and the card service, kept up or in the foreground."""

from __future__ import annotations

import json
import shlex
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from archzero_lab.commands.options import InventoryFile, RelationshipsFile, Seed, ServedCards
from archzero_lab.errors import LabError, mask_secrets
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.settings import STATE, load_settings
from archzero_lab.terminal import console

Fresh = Annotated[bool, typer.Option("--fresh", help="Load the cards anew; without it they are as they were left.")]
_SHOWN = 5
"""Of the supervisor's events, the last ones."""
ArmName = Literal["control", "indexes", "cache", "treatment", "v2", "v2-cache"]


def up(
    cards: ServedCards = None,
    inventory: InventoryFile = None,
    relationships: RelationshipsFile = None,
    seed: Seed = 1,
    fresh: Fresh = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="3000 if it is free, else any free port. 0: any.")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=0, max=8, help="So many replicas of its PostgreSQL, to read from.")
    ] = None,
    observe: Annotated[bool, typer.Option("--observe", help="Prometheus beside it, with rules and alerts.")] = False,
) -> None:
    """Start servers and service, and keep them up; start again what is gone of them.

    Cards that were loaded, and what was written to them, are there again.
    """
    from archzero_lab.bootstrap.keep_up import bring_everything_up
    from archzero_lab.bootstrap.supervisor import start_supervisor
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.mending import restart_missing
    from archzero_lab.servers.shared_servers import transition
    from archzero_lab.servers.stack import kept_stack, read_state, registry, status

    settings = load_settings()
    with exclusive("up"):
        _warn_of_room()
        with transition(STATE):
            gone = restart_missing(settings)
            with suppress(LabError):  # its supervisor goes on trying, and /health says what is wrong
                gone += restart_missing(settings, replicas=True)
        for name in gone:
            console.print(f"{name} was gone: started again", highlight=False)
        if kept_stack(settings) is not None and status(settings)["service"]["url"]:
            start_supervisor(registry())
            had = len((read_state() or {}).get("replicas") or {})
            if replicas not in (None, had):
                raise LabError(f"it is up with {had} replicas; run ./lab down, then up --replicas {replicas}")
            console.print(f"already up: {status(settings)['service']['url']} (./lab down ends it)", highlight=False)
            return
        url, cards_in_words = bring_everything_up(
            settings,
            cards,
            seed=seed,
            inventory=inventory,
            relationships=relationships,
            fresh=fresh,
            port=port,
            replicas=len((read_state() or {}).get("replicas") or {}) if replicas is None else replicas,
            observe=observe,
            reporter=Reporter(console),
        )
    console.print(f"up: {url} on {cards_in_words}; ./lab status, ./lab down", highlight=False)
    if observe:
        console.print(f"Prometheus: {status(settings)['prometheus']['url']}", highlight=False)


def _warn_of_room() -> None:
    from archzero_lab.servers.disk_room import low_room
    from archzero_lab.servers.server_home import server_home

    if room := low_room(server_home(STATE)):
        console.print(room, highlight=False)


def down() -> None:
    """Stop everything that `up` started.

    Cards stay for the next time, with what was written to them.
    """
    from archzero_lab.bootstrap.supervisor import stop_supervisor
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.replicas import end_replicas
    from archzero_lab.servers.stack import kept_stack, read_state, registry, take_down

    with exclusive("down"):
        stack = kept_stack(load_settings())
        if stack is not None and (read_state() or {}).get("replicas"):
            stop_supervisor(registry())  # it would start again what is ended now
            with suppress(LabError):  # whatever stands in the way, all of it is stopped below
                end_replicas(stack)
        stopped = take_down()
    console.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def _labels(databases: dict[str, str]) -> dict[str, Any]:
    """What each database is labelled with: JSON as what it says."""
    labels: dict[str, Any] = {}
    for name, label in databases.items():
        try:
            labels[name] = json.loads(label)
        except ValueError:
            labels[name] = label
    return labels


def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with URLs that connect.")] = False,
    as_environment: Annotated[
        bool, typer.Option("--env", help='As a shell\'s variables: eval "$(./lab status --env)".')
    ] = False,
) -> None:
    """Show URLs, pids and databases of what is up, and what its supervisor saw."""
    from archzero_lab.bootstrap.supervisor import events, supervisor_record
    from archzero_lab.postgres.connection import connect
    from archzero_lab.servers import stack
    from archzero_lab.servers.mending import missing_servers
    from archzero_lab.servers.versions import versions_in_words
    from archzero_lab.systems.arczero.portfolios import in_words

    state = stack.status(load_settings())
    if as_environment:
        service_state = (stack.read_state() or {}).get("service") or {}
        if not state["service"]["url"] or "database_url" not in service_state:
            raise LabError("no service is kept up; ./lab up starts it")
        values = {
            "SERVICE_URL": service_state["url"],
            "DATABASE_URL": service_state["database_url"],
            "REDIS_URL": state["redis"]["url"],
        }
        for name, value in values.items():
            typer.echo(f"export {name}={shlex.quote(value)}")
        return
    if as_json:
        typer.echo(json.dumps(state | {"databases": _labels(state["databases"])}, indent=2))
        return
    watched = supervisor_record(stack.registry()) is not None
    if missing := missing_servers():
        ends = "its supervisor is about to start it again" if watched else "./lab up starts it again"
        console.print(f"{' and '.join(missing)} gone; {ends}, and what still runs goes on", highlight=False)
        if not set(missing) <= set(state["replicas"]):
            return
    if state["postgres"]["url"] is None:
        console.print("nothing is kept up (./lab up starts it)")
        return
    table = WholeTable("", "url", "pid")
    for name in ("postgres", "redis"):
        pid = state[name]["pid"]
        table.add_row(name, mask_secrets(state[name]["url"]), str(pid) if pid else "not ours")
    for name, part in state["replicas"].items():
        table.add_row(name, mask_secrets(part["url"]), str(part["pid"]))
    service = state["service"]
    table.add_row("service", service["url"] or "not running", ", ".join(map(str, service["pids"])))
    if state["prometheus"]:
        table.add_row("Prometheus", state["prometheus"]["url"], ", ".join(map(str, state["prometheus"]["pids"])))
    console.print(table)
    kept = stack.kept_stack(load_settings())
    if kept is not None:
        with suppress(LabError), connect(kept.postgres_url) as connection:
            console.print(versions_in_words(connection, kept.redis_url), highlight=False)
    _warn_of_room()
    if not watched:
        console.print("no supervisor is running: ./lab up starts its supervisor again")
    since = ((stack.read_state() or {}).get("service") or {}).get("up_since", 0.0)
    for event in events(since)[-_SHOWN:]:
        console.print(
            f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(event['at']))} {event['what']}", highlight=False
        )
    for name, label in state["databases"].items():
        console.print(f"{name}: {in_words(label) or 'not finished'}", highlight=False)


def serve(
    arm: Annotated[
        ArmName, typer.Option(help="control (no index), indexes, cache, treatment (both), v2, v2-cache.")
    ] = "treatment",
    cache: Annotated[Literal["on", "off"] | None, typer.Option(help="Overrides the arm's.")] = None,
    cards: ServedCards = None,
    inventory: InventoryFile = None,
    relationships: RelationshipsFile = None,
    workers: Annotated[int, typer.Option(min=1, max=64)] = 1,
    host: Annotated[str, typer.Option(help="Loopback unless told otherwise.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 3000,
    record: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Append requests to this access log, for load --replay."),
    ] = None,
    seed: Seed = 1,
    fresh: Fresh = False,
) -> None:
    """Run the card service until Ctrl-C.

    Its cards stay for the next time; those of a second one beside it go with it.
    """
    from archzero_lab.bootstrap.keep_up import kept_purpose
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.bounded_logs import bound_logs
    from archzero_lab.servers.process import is_alive
    from archzero_lab.servers.stack import running_stack
    from archzero_lab.systems.arczero.arms import ARMS
    from archzero_lab.systems.arczero.portfolios import choose_portfolio, drop_arms, keep_arms, upto
    from archzero_lab.systems.arczero.services import Serving, index_set_of, start_service, url_of_service

    database = ARMS[arm].database
    cached = ARMS[arm].cached if cache is None else cache == "on"
    portfolio = choose_portfolio(cards, seed, inventory, relationships)
    named = cards is not None or inventory is not None
    with running_stack(load_settings()) as stack, kept_purpose(database) as (purpose, stays):
        try:
            urls, in_words = keep_arms(
                stack, portfolio, purpose, upto(database), fresh=fresh, chosen=named, reporter=Reporter(console)
            )
            service = start_service(
                stack,
                Serving(
                    arm,
                    url_of_service(stack, urls[database]),
                    cached=cached,
                    index_set=index_set_of(database),
                    host=host,
                    port=port or None,
                    workers=workers,
                    record=record,
                ),
            )
            console.print(f"{service.url}  {in_words}, arm {arm}, cache {'on' if cached else 'off'}", highlight=False)
            while is_alive(service.record):
                bound_logs()
                time.sleep(0.5)  # until a signal ends us or the service dies
            raise LabError("the service ended by itself; see .lab/logs")
        except KeyboardInterrupt:
            console.print("stopping")
        finally:
            if not (stays and stack.ours):  # on somebody else's server nothing of ours stays
                drop_arms(stack, purpose)
