"""Ordinary clients of a service that is hurt: some write and read items, some ask for pages; all is written down."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import httpx

from archzero_lab.systems.endured import Endured
from archzero_lab.systems.histories import Read, Write

ADDRESS = "127.0.0.3"
"""Of these clients; what attacks comes from another (attacks.ADDRESS)."""
_WRITERS, _READERS, _ASKING = 4, 4, 8
_PAUSE_S = 0.02
_ASK_PAUSE_S = 0.1
_LONGEST_S = 30.0
_MADE_ONE_IN = 8
_NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: when (monotonic s), for how long, and the status; 0 where no answer came."""

    began_s: float
    seconds: float
    status: int
    retry_after: bool = False


@dataclass
class Recording:
    """What the clients saw. `made` are names of new items that were acknowledged, `tried` those asked for."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    written: list[Asked] = field(default_factory=list)
    """How long each PUT and POST waited for its answer."""
    made: list[str] = field(default_factory=list)
    strange: Counter[str] = field(default_factory=Counter)
    """Answers that the contract does not have, by what was asked."""


class Clients:
    """A thread with an event loop of its own, from `start` until `stop`."""

    def __init__(self, service: Endured, seed: int) -> None:
        self.recording = Recording()
        self.mark = f"made {uuid.uuid4().hex[:8]}"
        self._service = service
        self._rng = random.Random(f"clients {seed}")
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, once the requests under way have ended. Idempotent."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(_LONGEST_S * 2)

    async def _run(self) -> None:
        transport = httpx.AsyncHTTPTransport(local_address=ADDRESS, limits=httpx.Limits(max_connections=50))
        async with httpx.AsyncClient(
            base_url=self._service.url, timeout=_LONGEST_S, transport=transport, trust_env=False
        ) as client:
            items = list(self._service.items)
            shares = [items[number::_WRITERS] for number in range(_WRITERS)]
            await asyncio.gather(
                *[self._write(client, number, share) for number, share in enumerate(shares)],
                *[self._read(client, number, items) for number in range(_READERS)],
                *[self._ask(client) for _ in range(_ASKING)],
            )

    async def _write(self, client: httpx.AsyncClient, number: int, items: list[str]) -> None:
        """Change items that nobody else writes, each on its newest version; make a new one now and then."""
        etags: dict[str, str] = {}
        count = 0
        while not self._over.is_set():
            count += 1
            if self._rng.randrange(_MADE_ONE_IN) == 0:
                await self._make(client, f"{self.mark} {number}.{count}")
                continue
            path = self._rng.choice(items)
            if path not in etags:
                etag = await self._get(client, path, f"writer {number}", {"Cache-Control": "no-cache"})
                if etag is not None:
                    etags[path] = etag
                continue
            began = time.monotonic_ns()
            try:
                answer = await client.put(path, json=self._service.change(count), headers={"If-Match": etags[path]})
            except httpx.HTTPError:
                answer = None
            ended = time.monotonic_ns()
            self._wrote(began, ended, answer)
            if answer is not None and answer.status_code == 200:
                self.recording.writes.append(Write(path, answer.json()["version"], began, ended))
                etags[path] = answer.headers["ETag"]
            else:
                etags.pop(path)
                if answer is None or answer.status_code != 412:  # else it was surely not written
                    self.recording.writes.append(Write(path, 0, began, ended, refused=True))
                    self._note("PUT", answer)
            await asyncio.sleep(_PAUSE_S)

    async def _make(self, client: httpx.AsyncClient, name: str) -> None:
        path, body, _ = self._service.new(name)
        began = time.monotonic_ns()
        try:
            answer = await client.post(path, json=body)
        except httpx.HTTPError:
            answer = None
        self._wrote(began, time.monotonic_ns(), answer)
        if answer is None:
            return
        if answer.status_code == 201:
            self.recording.made.append(name)
        else:
            self._note("POST", answer)
        await asyncio.sleep(_PAUSE_S)

    async def _read(self, client: httpx.AsyncClient, number: int, items: list[str]) -> None:
        while not self._over.is_set():
            await self._get(client, self._rng.choice(items), f"reader {number}", {})
            await asyncio.sleep(_PAUSE_S)

    async def _get(self, client: httpx.AsyncClient, path: str, session: str, headers: dict[str, str]) -> str | None:
        """Read an item, and write it down; its ETag, None where there was no answer to trust."""
        began = time.monotonic_ns()
        try:
            answer = await client.get(path, headers=headers)
        except httpx.HTTPError:
            await asyncio.sleep(_PAUSE_S)
            return None
        if answer.status_code != 200:
            self._note("GET", answer)
            await asyncio.sleep(_PAUSE_S)
            return None
        version = int(answer.json()["version"])
        self.recording.reads.append(Read(path, version, began, time.monotonic_ns(), session, "card"))
        return answer.headers["ETag"]

    async def _ask(self, client: httpx.AsyncClient) -> None:
        while not self._over.is_set():
            path = self._rng.choice(self._service.pages)
            began = time.monotonic()
            try:
                answer = await client.get(path)
                status, after = answer.status_code, "Retry-After" in answer.headers
                if status != 503 or not path.endswith("health"):
                    self._note("GET", answer)
            except httpx.HTTPError:
                status, after = _NO_ANSWER, False
            self.recording.asked.append(Asked(began, time.monotonic() - began, status, after))
            await asyncio.sleep(_ASK_PAUSE_S)

    def _wrote(self, began_ns: int, ended_ns: int, answer: httpx.Response | None) -> None:
        status = _NO_ANSWER if answer is None else answer.status_code
        self.recording.written.append(Asked(began_ns / 1e9, (ended_ns - began_ns) / 1e9, status))

    def _note(self, what: str, answer: httpx.Response | None) -> None:
        """Count an answer that is neither success nor a 503 that says when to come again."""
        if answer is None or answer.is_success:
            return
        if answer.status_code != 503:
            self.recording.strange[f"{what} answered {answer.status_code}"] += 1
        elif "Retry-After" not in answer.headers:
            self.recording.strange[f"{what} answered 503 without Retry-After"] += 1
