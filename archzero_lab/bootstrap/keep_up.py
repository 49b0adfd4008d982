"""Brings up what stays up after a command: servers, both databases, the service on the treatment."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from archzero_lab.progress import Reporter
from archzero_lab.servers.stack import Stack, bring_up, exclusive, read_state, record_state, take_down
from archzero_lab.settings import Settings
from archzero_lab.systems.arczero.portfolios import ARMS, arm_urls, choose_portfolio, ensure_base, make_arms
from archzero_lab.systems.arczero.services import Serving, start_service


def bring_everything_up(
    settings: Settings,
    cards: int | None,
    *,
    seed: int = 1,
    inventory: Path | None = None,
    relationships: Path | None = None,
    reporter: Reporter | None = None,
) -> tuple[str, str]:
    """Start everything and keep it up; the service's URL and how many cards it has, in words.

    What is up and fits is used again: servers always, the loaded cards where they are the same. Nothing is left running
    where a step fails. Raises LabError for what a person can mend.
    """
    reporter = reporter or Reporter(Console(quiet=True))
    with exclusive("up"):
        portfolio = choose_portfolio(cards, seed, inventory, relationships)
        try:
            with reporter.work("servers"):
                stack = bring_up(settings)
                _end_service(stack)  # its databases are about to be made anew
            with reporter.work("load") as tell:
                base = ensure_base(stack, portfolio, tell)
            with reporter.work("migrate") as tell:
                make_arms(stack, base, "up", lambda name, done, total: tell(done / total), ARMS)
            with reporter.work("service"):
                urls = arm_urls(stack, "up")
                service = start_service(stack, Serving("treatment", urls["treatment"], cached=True, kept=True))
                record_state(
                    service={"url": service.url, "pid": service.record.pid, "namespace": service.namespace,
                             "up_since": time.time(), "cards": base.cards}
                )  # fmt: skip
        except BaseException:
            take_down()
            raise
    return service.url, portfolio.in_words


def _end_service(stack: Stack) -> None:
    pid = ((read_state() or {}).get("service") or {}).get("pid")
    for record in stack.registry.records():
        if record.pid == pid:
            stack.registry.stop(record)
