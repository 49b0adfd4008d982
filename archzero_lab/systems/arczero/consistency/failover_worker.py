"""One process of verify-failover: sessions that write and read cards of a hot set, each operation recorded.

    python -m archzero_lab.systems.arczero.consistency.failover_worker JOB

JOB is JSON: {"service", "of", "without", "hot", "owner", "seed", "readers", "writers", "out", "begun", "stop"}. It
works until `stop` exists. Every session hands on what it has seen, as a client with Archzero-Position does.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from archzero_lab.postgres.cluster_nodes import Node
from archzero_lab.postgres.cluster_watch import ClusterWatch
from archzero_lab.postgres.positions import SESSION, Position, Session
from archzero_lab.postgres.replicated import ReplicatedDatabase
from archzero_lab.systems.arczero.cache import connections
from archzero_lab.systems.arczero.cache.epochs import Answer, Epoch
from archzero_lab.systems.arczero.cache.members import Members
from archzero_lab.systems.arczero.cache.shards import Shards
from archzero_lab.systems.arczero.cache.told_position import ToldPosition
from archzero_lab.systems.arczero.cards.model import CardFilter, CardPatch, CardsError, Document, NotFound
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.service import CardService
from archzero_lab.systems.arczero.opened_cache import open_cache
from archzero_lab.systems.arczero.service_config import ServiceConfig
from archzero_lab.systems.failovers import Operations, Reading, Writing

_PAUSE_S = 0.02
_BUSY_NS = 250_000_000
"""Writers write in every other such span, on the clock that all processes share: in the others the cache fills."""


class _Seen(msgspec.Struct):
    id: str
    version: int
    attributes: dict[str, Any]


class _Page(msgspec.Struct):
    data: list[_Seen]


_CARD, _PAGE = msgspec.json.Decoder(_Seen), msgspec.json.Decoder(_Page)
_STICKY_NS = 2_000_000_000
_LISTS = 0.15
"""Of the reads through the cache."""


MISSING = Document(b"", "")
"""Of a card that was not found."""


class _Client:
    """One session: what it has seen goes with what it asks next, and is kept."""

    def __init__(self, name: str, into: Operations, job: dict[str, Any]) -> None:
        self.name, self._into, self._job = name, into, job
        self._tokens = "token" not in job["without"] and job["of"] is None
        self._position: Position | None = None
        self._wrote_ns = 0

    def beside(self) -> _Client:
        """The same client past the cache: what is read there is no session with what the cache had."""
        other = _Client(f"{self.name}.plain", self._into, self._job)
        other._position, other._wrote_ns = self._position, self._wrote_ns
        return other

    async def ask(self, what: str, call: Callable[[], Awaitable[Document]]) -> tuple[Document | None, int, int]:
        """The answer, None for one that failed, and when it was asked for and had."""
        session = Session(self._position if self._tokens else None)
        SESSION.set(session)
        began = time.monotonic_ns()
        session.primary = self._job["of"] == "sticky" and began < self._wrote_ns + _STICKY_NS
        try:
            document: Document | None = await call()
        except NotFound:
            document = MISSING
        except CardsError:
            document = None
            self._into.failed.append((began, time.monotonic_ns(), what))
        self._position = session.seen or self._position
        self._wrote_ns = time.monotonic_ns() if what == "write" else self._wrote_ns
        return document, began, time.monotonic_ns()


async def _read(of: Cards, job: dict[str, Any], client: _Client, into: Operations, through: str) -> None:
    rng, hot = random.Random(client.name), [uuid.UUID(text) for text in job["hot"]]
    page = CardFilter(owner_id=uuid.UUID(job["owner"]), status=None, page_size=100)
    while not os.path.exists(job["stop"]):  # noqa: ASYNC240  # a stat, no more
        listed = through == "cached" and rng.random() < _LISTS
        call = partial(of.cards, page) if listed else partial(of.card, rng.choice(hot))
        document, began, ended = await client.ask("read", call)
        if document is MISSING:  # the hot cards are there from the beginning
            into.reads.append(Reading(str(call.args[0]), 0, "", began, ended, client.name, through))
            continue
        if document is None:
            await asyncio.sleep(_PAUSE_S)
            continue
        cards_read = _PAGE.decode(document.body).data if listed else [_CARD.decode(document.body)]
        into.reads += [
            Reading(one.id, one.version, _mark_of(one), began, ended, client.name, "list" if listed else through)
            for one in cards_read
        ]
        await asyncio.sleep(0)


async def _write(cards: Cards, plain: Cards, job: dict[str, Any], client: _Client, into: Operations) -> None:
    rng, hot = random.Random(client.name), [uuid.UUID(text) for text in job["hot"]]
    while not os.path.exists(job["stop"]):  # noqa: ASYNC240  # a stat, no more
        if time.monotonic_ns() // _BUSY_NS % 2:
            await asyncio.sleep(_PAUSE_S)
            continue
        card_id, mark = rng.choice(hot), uuid.uuid4().hex
        patch = CardPatch(quality_score=rng.randint(0, 100), attributes={"mark": mark})
        document, began, ended = await client.ask("write", partial(cards.update_card, card_id, patch))
        into.writes.append(Writing(str(card_id), document.version if document else 0, mark, began, ended))
        if document is not None:  # what was just written, through the cache or past it
            past = rng.random() < 0.5
            reader = client.beside() if past else client
            own, began, ended = await reader.ask("read", partial((plain if past else cards).card, card_id))
            if own is not None:
                seen = _CARD.decode(own.body) if own is not MISSING else _Seen(str(card_id), 0, {})
                into.reads.append(
                    Reading(seen.id, seen.version, _mark_of(seen), began, ended, reader.name, "own", document.version,
                            mark)
                )  # fmt: skip
        await asyncio.sleep(_PAUSE_S * rng.random() * 2)


def _mark_of(seen: _Seen) -> str:
    return str(seen.attributes.get("mark", ""))


@asynccontextmanager
async def _opened(job: dict[str, Any]) -> AsyncIterator[tuple[Cards, Cards]]:
    """The cached service and the one below it, guards taken out as the job says."""
    config = msgspec.json.decode(job["service"], type=ServiceConfig)
    database = ReplicatedDatabase(config.database_url, config.replicas, config.pool, config.replica)
    await database.open()
    plain = CardService(database)
    try:
        async with open_cache(config, plain, replicated=database) as handle:
            yield handle.cards, plain
    finally:
        await database.close()


def _take_out(without: list[str]) -> None:
    if "position" in without:  # a load may be any replica's
        ToldPosition.session_for = lambda self, said, client: Session()  # type: ignore[method-assign]
    if "timeline" in without:  # one timeline is as good as another
        ToldPosition.timeline = property(lambda self: "00000001")  # type: ignore[assignment,method-assign]
    if "leader" in without:  # who was led to once is believed for as long as it answers
        connections.is_sentinel = lambda url: False  # type: ignore[attr-defined]
    if "epoch" in without:  # whoever has a tag of a Cluster by now, what he holds is believed
        Members._write = keep_all  # type: ignore[method-assign]


async def keep_all(
    self: Members, shards: Shards, epoch: Epoch, latest: Epoch | None, answers: Mapping[int, Answer]
) -> bool:
    """Instead of Members' own: begin an epoch, and make nothing void."""
    for number in sorted(answers):
        args = [answers[number].copy, epoch.text, 0]
        if not await self._scripts.begin_tag(keys=[self._keys.epochs[number]], args=args, client=shards):
            return False
    return True


def _take_another(of: str) -> None:
    """Another way to choose a replica: any of them for every SELECT ("sticky": not for 2 s after a session's write)."""

    async def any_replica(watch: ClusterWatch, needed: Position | None) -> Node | None:
        there = [node for node in watch.nodes if node.seen is not None and not node.seen.writable]
        return random.choice(there) if there else None

    ClusterWatch.find = any_replica  # type: ignore[method-assign, assignment]
    ToldPosition.session_for = (  # type: ignore[method-assign]
        lambda self, said, client: Session(primary=client.primary if client is not None else False)
    )


async def _work(job: dict[str, Any], into: Operations) -> None:
    async with _opened(job) as (cards, plain):
        Path(job["begun"]).touch()  # noqa: ASYNC240  # nobody waits yet
        readers = [_Client(f"{job['seed']}.r{number}", into, job) for number in range(job["readers"])]
        writers = [_Client(f"{job['seed']}.w{number}", into, job) for number in range(job["writers"])]
        await asyncio.gather(
            *[
                _read(plain if number % 3 == 0 else cards, job, client, into, "plain" if number % 3 == 0 else "cached")
                for number, client in enumerate(readers)
            ],
            *[_write(cards, plain, job, client, into) for client in writers],
        )


def main() -> None:
    """Run the job named on the command line."""
    job = json.loads(Path(sys.argv[1]).read_text())
    _take_out(job["without"])
    if job["of"] is not None:
        _take_another(job["of"])
    into = Operations()
    asyncio.run(_work(job, into))
    into.save(Path(job["out"]))


if __name__ == "__main__":
    main()
