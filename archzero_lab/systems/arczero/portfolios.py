"""Which rows are loaded, and the databases made of them: a base once, a copy of it for each arm."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from archzero_lab.errors import InventoryError
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import create_database, database_url, drop_database, label_database
from archzero_lab.postgres.migrations import Migrations
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cards.generator import GeneratedPortfolio
from archzero_lab.systems.arczero.cards.inventory import read_inventory
from archzero_lab.systems.arczero.cards.loading import Portfolio, load_portfolio, renew_outbox
from archzero_lab.systems.arczero.cards.model import CardRow, RelationshipDraft
from archzero_lab.systems.arczero.cards.replica import ReplicatedInventory
from archzero_lab.systems.system import Loading

GENERATED = 20_000
"""Cards, where nobody says how many."""
ARMS = ("control", "treatment", "v2")
"""No index, phase 5's, index set v2."""


@dataclass(frozen=True)
class Loaded:
    """A base database: what it holds, and whether it was there already."""

    name: str
    label: str
    cards: int
    relationships: int
    reused: bool


def choose_portfolio(cards: int | None, seed: int, inventory: Path | None, relationships: Path | None) -> Portfolio:
    """The generator's portfolio, or a real inventory: repeated up to `cards`, or as it is. Raises InventoryError."""
    if inventory is None:
        if relationships is not None:
            raise InventoryError("--relationships needs --inventory, whose cards they join")
        return GeneratedPortfolio(seed, cards or GENERATED)
    card_rows = read_inventory(inventory, CardRow)
    relationship_rows = read_inventory(relationships, RelationshipDraft) if relationships else []
    name = inventory.name.split(".")[0]
    return ReplicatedInventory(card_rows, relationship_rows, seed, cards or len(card_rows), name)


@contextmanager
def alone_with_base(stack: Stack) -> Iterator[None]:
    """Let one command at a time load the base and copy it; the others wait. The server ends it with the command."""
    with connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [stack.database_name("base")])
        yield


def ensure_base(stack: Stack, portfolio: Portfolio, progress: Callable[[float], None]) -> Loaded:
    """The base database with these rows: the one that is there, or a new one in its place. Within `alone_with_base`."""
    name = stack.database_name("base")
    held = _read_label(stack.databases().get("base", ""))
    if held is not None and held[0] == portfolio.label:
        with connect(database_url(stack.postgres_url, name)) as connection:
            renew_outbox(connection)
        return Loaded(name, *held, reused=True)
    url = create_database(stack.postgres_url, name)
    try:
        with connect(url) as connection:
            cards, relationships = load_portfolio(connection, portfolio, progress)
            _try_statement_statistics(connection)
            label = json.dumps({"label": portfolio.label, "cards": cards, "relationships": relationships})
            label_database(connection, name, label)
    except BaseException:
        drop_database(stack.postgres_url, name)
        raise
    return Loaded(name, portfolio.label, cards, relationships, reused=False)


def upto(*databases: str) -> tuple[str, ...]:
    """The arms to make for these databases: the first two always, as everything compares them; v2 where it is named."""
    return ARMS if "v2" in databases else ARMS[:2]


def make_arms(
    stack: Stack,
    base: Loaded,
    purpose: str,
    migrating: Callable[[str, int, int], None],
    arms: Collection[str] = ARMS[:2],
) -> dict[str, str]:
    """A fresh copy of the base for each arm, phase 5's migrations on the treatment; URLs by arm.

    v2 is a copy of the treatment with the migrations after phase 5's on it, as a server that has those would go on.
    `purpose` keeps a run's databases apart from those that `./lab up` serves.
    """
    urls = {}
    made = stack.database_name(f"{purpose}_treatment")
    for arm in ARMS:
        if arm not in arms:
            continue
        template = made if arm == "v2" else base.name
        urls[arm] = create_database(stack.postgres_url, stack.database_name(f"{purpose}_{arm}"), template=template)
        if arm != "control":
            Migrations(urls[arm]).up(migrating, index_set="v2" if arm == "v2" else "phase5")
    for url in urls.values():
        with connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
    for arm in urls:
        name = stack.database_name(f"{purpose}_{arm}")
        with connect(stack.postgres_url, autocommit=True) as connection:
            label_database(connection, name, f"{base.label} ({arm})")
    return urls


def held_arms(stack: Stack, purpose: str, arms: Collection[str]) -> str | None:
    """The label of the rows that these arms' databases were made of, where all of them are there and whole; else None.

    What was written since is in them: they are never made anew but where somebody asks for that.
    """
    have = stack.databases()
    labels = {have.get(f"{purpose}_{arm}", "").removesuffix(f" ({arm})") for arm in ARMS if arm in arms}
    return labels.pop() or None if len(labels) == 1 else None


def keep_arms(
    stack: Stack, portfolio: Portfolio, purpose: str, arms: Collection[str], *, fresh: bool, chosen: bool,
    reporter: Loading,
) -> tuple[dict[str, str], str]:  # fmt: skip
    """The arms' databases as they were left, or made now; their URLs and what they hold, in words.

    `fresh` makes them anew; `asked` says that somebody named these rows. Raises InventoryError where others are held:
    what was written to them would be lost.
    """
    held = None if fresh else held_arms(stack, purpose, arms)
    if held is not None and chosen and held != portfolio.label:
        raise InventoryError(f"the lab keeps {held}, with what was written to it: --fresh replaces that")
    if held is None:
        with alone_with_base(stack):
            with reporter.work("load") as tell:
                base = ensure_base(stack, portfolio, tell)
            with reporter.work("migrate") as tell:
                urls = make_arms(stack, base, purpose, lambda name, done, total: tell(done / total), arms)
        return urls, portfolio.in_words
    urls_held = arm_urls(stack, purpose)
    with reporter.work("migrate"):
        for url in urls_held.values():
            with connect(url) as connection:
                renew_outbox(connection)
        for arm in (name for name in ARMS if name in arms and name != "control"):
            Migrations(urls_held[arm]).up(lambda name, done, total: None, index_set="v2" if arm == "v2" else "phase5")
    with connect(urls_held["treatment"]) as connection:
        row = connection.execute("SELECT count(*) FROM cards").fetchone()
    return urls_held, f"{row[0] if row else 0:,} cards, as they were left"


def drop_arms(stack: Stack, purpose: str) -> None:
    """Drop a run's databases, and on a server that is not ours the base too."""
    for arm in ARMS:
        drop_database(stack.postgres_url, stack.database_name(f"{purpose}_{arm}"))
    if not stack.ours:
        with alone_with_base(stack):
            drop_database(stack.postgres_url, stack.database_name("base"))


def arm_urls(stack: Stack, purpose: str) -> dict[str, str]:
    """The URLs of a purpose's databases that exist."""
    have = stack.databases()
    return {
        arm: database_url(stack.postgres_url, stack.database_name(f"{purpose}_{arm}"))
        for arm in ARMS
        if f"{purpose}_{arm}" in have
    }


def _try_statement_statistics(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """pg_stat_statements where the server has it: without it the mechanism counters of PostgreSQL are missing."""
    connection.autocommit = True
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    except psycopg.Error:
        return  # told in the report as counters that are not available


def in_words(label: str) -> str:
    """What a database's label says it holds, as a person reads it; "" of one that was never finished."""
    held = _read_label(label)
    return label if held is None else f"{held[0]}, {held[2]:,} relationships"


def _read_label(text: str) -> tuple[str, int, int] | None:
    try:
        held = json.loads(text)
        return str(held["label"]), int(held["cards"]), int(held["relationships"])
    except (ValueError, KeyError, TypeError):
        return None
