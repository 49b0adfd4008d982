"""Brings up what stays up after a command: servers, both databases, the service on the treatment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from archzero_lab.bootstrap.observers import end_observers, start_observers
from archzero_lab.bootstrap.supervisor import start_supervisor, stop_supervisor
from archzero_lab.errors import ServerError
from archzero_lab.progress import Reporter
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.ports import is_free
from archzero_lab.servers.prometheus import prometheus_program
from archzero_lab.servers.replicas import end_replicas, keep_replicas
from archzero_lab.servers.stack import (
    Stack,
    keep_servers,
    kept_stack,
    read_state,
    record_state,
    registry,
    running_stack,
)
from archzero_lab.settings import STATE, Settings
from archzero_lab.systems.arczero.portfolios import ARMS, choose_portfolio, keep_arms
from archzero_lab.systems.arczero.services import (
    RunningService,
    Serving,
    start_service,
    url_of_service,
    urls_of_replicas,
)

_PORT = 3000
"""As phase 5's own service has it, so that its curl lines work as they stand."""


@contextmanager
def kept_purpose(database: str) -> Iterator[tuple[str, bool]]:
    """The purpose of a `serve`'s databases, and whether they stay: those of the first one that runs.

    Another beside it gets databases of its own. Index set v2 has some of its own too: to make them must not make
    those anew that others were served from.
    """
    purpose = "servev2" if database == "v2" else "serve"
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(STATE / f"{purpose}.lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        yield f"{purpose}{os.getpid()}", False
        return
    try:
        yield purpose, True
    finally:
        lock.release()


def bring_everything_up(
    settings: Settings,
    cards: int | None,
    *,
    seed: int = 1,
    inventory: Path | None = None,
    relationships: Path | None = None,
    fresh: bool = False,
    port: int | None = None,
    replicas: int = 0,
    observe: bool = False,
    reporter: Reporter | None = None,
) -> tuple[str, str]:
    """Start everything and keep it up; the service's URL and how many cards it has, in words.

    Without a `port` the service takes 3000, as phase 5's own does, or where that is taken any free one.
    With `replicas` of its PostgreSQL, made anew, it reads from those; `observe`: Prometheus looks on. What is there is
    used again: servers, and the cards as they were left; `fresh` makes their databases anew. Where a step fails nothing
    that it started is left running, and what ran before goes on. Raises LabError for what a person can mend.
    """
    reporter = reporter or Reporter(Console(quiet=True))
    if observe:
        prometheus_program()  # before anything is started for it
    with exclusive("up"), ExitStack() as running:
        portfolio = choose_portfolio(cards, seed, inventory, relationships)
        stop_supervisor(registry())
        running.callback(_watch_what_stays, settings)
        with reporter.work("servers"):
            stack = running.enter_context(running_stack(settings))
            if replicas and not stack.ours:
                raise ServerError(
                    "replicas are made of the lab's own PostgreSQL; of yours name them: [database] replicas"
                )
            _end_service(stack)  # its databases are about to be made anew
            end_observers(stack.registry)
        named = cards is not None or inventory is not None
        urls, in_words = keep_arms(stack, portfolio, "up", ARMS, fresh=fresh, chosen=named, reporter=reporter)
        made: dict[str, dict[str, Any]] = {}
        if replicas or stack.ours:
            with reporter.work("replicas") if replicas else nullcontext():
                made = keep_replicas(stack, replicas)
        try:
            with reporter.work("service"):
                database = url_of_service(stack, urls["treatment"])
                service = _start_on(stack, database, port, urls_of_replicas(stack, database, made))
        except BaseException:
            end_replicas(stack)
            raise
        try:
            seen = start_observers(stack, service.url, urls["treatment"]) if observe else None
            keep_servers(stack)  # now that nothing but an interrupt can come between
            record_state(
                replicas=made,
                prometheus=seen,
                service={"url": service.url, "pid": service.record.pid, "namespace": service.namespace,
                         "up_since": time.time(), "database_url": urls["treatment"]},
            )  # fmt: skip
        except BaseException:
            stack.registry.stop(service.record)
            end_observers(stack.registry)
            end_replicas(stack)
            raise
    return service.url, in_words


def _watch_what_stays(settings: Settings) -> None:
    stack = kept_stack(settings)
    if stack is not None:
        start_supervisor(stack.registry)


def _start_on(stack: Stack, database_url: str, port: int | None, replicas: tuple[str, ...]) -> RunningService:
    """The service on a port; without one on 3000, or where that is not to be had on any."""
    chosen = _PORT if port is None else port or None
    serving = Serving("treatment", database_url, cached=True, replicas=replicas, kept=True, port=chosen)
    if port is not None:
        return start_service(stack, serving)
    if is_free(_PORT):
        with suppress(ServerError):  # somebody else has taken it meanwhile
            return start_service(stack, serving)
    return start_service(stack, replace(serving, port=None))


def _end_service(stack: Stack) -> None:
    pid = ((read_state() or {}).get("service") or {}).get("pid")
    for record in stack.registry.records():
        if record.pid == pid:
            stack.registry.stop(record)
