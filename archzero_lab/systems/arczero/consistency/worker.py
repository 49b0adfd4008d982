"""One process of the harness: writers and readers at random over a small hot set, each operation recorded.

    python -m archzero_lab.systems.arczero.consistency.worker JOB

JOB is JSON: {"of", "service", "without", "hot", "written", "owner", "seed", "reads", "readers", "writers", "out",
"begun", "done", "may_end", "stop"}. `begun` is touched before the first read, `done` when its share of reads is read;
it reads on until `may_end` exists.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from archzero_lab.systems.arczero.cards.model import CardFilter, CardPatch, CardsError, Document
from archzero_lab.systems.histories import Read, Write, save

_WAITING_S = 0.02
_PAUSE_S = 0.02
_BUSY_NS = 250_000_000
"""Writers write in every other such span, on the clock that all processes share: lists and searches, which each write
invalidates, are cached in the quiet ones and written to in the others."""


class _Seen(msgspec.Struct):
    id: str
    version: int


class _Page(msgspec.Struct):
    data: list[_Seen]


_CARD = msgspec.json.Decoder(_Seen)
_PAGE = msgspec.json.Decoder(_Page)


@dataclass
class Recorder:
    """What one process did."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    errors: int = 0
    told: bool = False

    def share_read(self, done: Path) -> None:
        """Tell, once, that this process has read its share."""
        if not self.told:
            self.told = True
            done.touch()


class HotCards(Protocol):
    """What the harness does to a card service."""

    async def card(self, card_id: uuid.UUID) -> Document:
        """One card."""

    async def cards(self, question: CardFilter) -> Document:
        """A page of cards."""

    async def update_card(self, card_id: uuid.UUID, patch: CardPatch) -> Document:
        """Change a card."""


async def run_worker(cards: HotCards, job: dict[str, Any]) -> Recorder:
    """Read until this process's share is read and it may end, write beside it; stop early when told to."""
    recorder = Recorder()
    Path(job["begun"]).touch()  # noqa: ASYNC240  # nobody waits yet
    hot = [uuid.UUID(text) for text in job["hot"]]
    written = [uuid.UUID(text) for text in job["written"]]
    done = asyncio.Event()
    readers = [
        asyncio.create_task(_read(cards, job, hot, f"{job['seed']}.{number}", recorder, done))
        for number in range(job["readers"])
    ]
    writers = [
        asyncio.create_task(_write(cards, written, f"{job['seed']}.w{number}", recorder, done))
        for number in range(job["writers"])
    ]
    await asyncio.gather(*readers)
    done.set()
    await asyncio.gather(*writers)
    return recorder


async def _read(
    cards: HotCards, job: dict[str, Any], hot: list[uuid.UUID], session: str, into: Recorder, done: asyncio.Event
) -> None:
    rng = random.Random(session)
    owner = uuid.UUID(job["owner"])
    questions = {
        "list": CardFilter(owner_id=owner, status=None, page_size=100),
        "search": CardFilter(q="hot set", owner_id=owner, status=None, page_size=100),
    }
    hot_texts = {str(card_id) for card_id in hot}
    while not os.path.exists(job["stop"]):  # noqa: ASYNC240  # a stat, no more
        enough = len(into.reads) >= job["reads"]
        if enough:
            into.share_read(Path(job["done"]))
            if os.path.exists(job["may_end"]):  # noqa: ASYNC240  # a stat, no more
                return
        through = rng.choices(("card", "list", "search"), (20, 1, 1))[0]
        card_id = rng.choice(hot)
        began = time.monotonic_ns()
        try:
            if through == "card":
                document = await cards.card(card_id)
            else:
                document = await cards.cards(questions[through])
        except CardsError:
            into.errors += 1
            await asyncio.sleep(_PAUSE_S)
            continue
        ended = time.monotonic_ns()
        into.reads += [
            Read(seen.id, seen.version, began, ended, f"{session}.{through}", through)
            for seen in _versions(document, through)
            if seen.id in hot_texts
        ]
        # with its share read it reads on for the faults that are left, and leaves most of a core to whatever else runs
        await asyncio.sleep(_WAITING_S if enough else 0)


async def _write(cards: HotCards, hot: list[uuid.UUID], name: str, into: Recorder, done: asyncio.Event) -> None:
    rng = random.Random(name)
    while not done.is_set():
        if time.monotonic_ns() // _BUSY_NS % 2:
            await asyncio.sleep(_PAUSE_S)
            continue
        card_id = rng.choice(hot)
        began = time.monotonic_ns()
        try:
            document = await cards.update_card(card_id, CardPatch(quality_score=rng.randint(0, 100)))
            into.writes.append(Write(str(card_id), document.version, began, time.monotonic_ns()))
        except CardsError:
            into.errors += 1
            into.writes.append(Write(str(card_id), 0, began, time.monotonic_ns(), refused=True))
        await asyncio.sleep(_PAUSE_S * rng.random() * 2)


def _versions(document: Document, through: str) -> list[_Seen]:
    if through == "card":
        return [_CARD.decode(document.body)]
    return _PAGE.decode(document.body).data


def main(open_cards: Any) -> None:
    """Run the job named on the command line; `open_cards` gives the card service of its `service` entry."""
    job = json.loads(Path(sys.argv[1]).read_text())

    async def run() -> Recorder:
        async with open_cards(job) as cards:
            return await run_worker(cards, job)

    recorder = asyncio.run(run())
    save(Path(job["out"]), recorder.writes, recorder.reads)
