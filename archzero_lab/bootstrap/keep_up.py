"""Brings up what stays up after a command: servers, both databases, the service on the treatment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from archzero_lab.progress import Reporter
from archzero_lab.servers.stack import Stack, bring_up, exclusive, kept_stack, read_state, record_state, take_down
from archzero_lab.settings import STATE, Settings
from archzero_lab.systems.arczero.portfolios import ARMS, choose_portfolio, keep_arms
from archzero_lab.systems.arczero.services import Serving, start_service, url_of_service


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
    reporter: Reporter | None = None,
) -> tuple[str, str]:
    """Start everything and keep it up; the service's URL and how many cards it has, in words.

    What is there is used again: servers, and the cards as they were left; `fresh` makes their databases anew. Where a
    step fails nothing that it started is left running, and what ran before goes on. Raises LabError for what a person
    can mend.
    """
    reporter = reporter or Reporter(Console(quiet=True))
    with exclusive("up"):
        portfolio = choose_portfolio(cards, seed, inventory, relationships)
        before = kept_stack(settings)
        try:
            with reporter.work("servers"):
                stack = bring_up(settings)
                _end_service(stack)  # its databases are about to be made anew
            asked = cards is not None or inventory is not None
            urls, in_words = keep_arms(stack, portfolio, "up", ARMS, fresh=fresh, asked=asked, reporter=reporter)
            with reporter.work("service"):
                service = start_service(
                    stack, Serving("treatment", url_of_service(stack, urls["treatment"]), cached=True, kept=True)
                )
                record_state(
                    service={"url": service.url, "pid": service.record.pid, "namespace": service.namespace,
                             "up_since": time.time()}
                )  # fmt: skip
        except BaseException:
            if before is None:
                take_down()
            raise
    return service.url, in_words


def _end_service(stack: Stack) -> None:
    pid = ((read_state() or {}).get("service") or {}).get("pid")
    for record in stack.registry.records():
        if record.pid == pid:
            stack.registry.stop(record)
