"""In a Cluster: which tags are in use, as all processes have it. One that is away is left out, and the rest goes on.

An epoch says of each tag that is in who has it: his run id and replication id. More than half of the tags are in. Each
tag that is in keeps a copy, written together with new generations where another has the tag than before, or where it
was out. A licence is given and renewed only where every copy says the epoch, and everyone is who it says; so once
another has been written, which shares a tag with every other, nobody renews a licence of the one before, and after
licence_s nobody has one. What is told counts only where, after the commit, every copy still says the epoch, and only
once no licence of another is left. Then whoever believes another epoch begins it later, and voids what was not told.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.clients import REDIS_FAILED
from archzero_lab.systems.arczero.cache.epochs import Answer, Epoch, decode_epoch
from archzero_lab.systems.arczero.cache.keys import Keyspace, Kind
from archzero_lab.systems.arczero.cache.script_calls import (
    Scripts,
    fence_of,
    flushed_generation,
    new_era,
    new_generation,
)
from archzero_lab.systems.arczero.cache.settling import SETTLING_MS, licence_over_s
from archzero_lab.systems.arczero.cache.shards import Shards
from archzero_lab.systems.arczero.cache.tasks import end_task

LEFT_OUT_AFTER_S = 1.0
"""How long a tag is waited for, seen to be away, before the rest goes on without it."""


TAKEN_IN_AFTER_S = 3.0
"""How long an epoch without it lasts at least: somebody may not reach what others do, and leave it out again."""


class PartlyAwayError(RedisConnectionError):
    """Some of a Cluster is away, most of it is not."""


class Members:
    """One process's knowledge of the epoch."""

    def __init__(self, keys: Keyspace, scripts: Scripts, settings: CacheSettings) -> None:
        self._keys, self._scripts, self._settings = keys, scripts, settings
        self.epoch: Epoch | None = None
        self.counts_from = math.inf
        """From when on (monotonic) no licence of another epoch is left."""
        self._away_since: dict[int, float] = {}
        """From when on each tag was seen to be away; leaving out one that was not is safe, only dear."""
        self._obeying: asyncio.Future[tuple[dict[int, Answer], dict[int, BaseException]]] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._taken = -math.inf
        self._has_returned = False

    def has(self, name: str, epoch: Epoch | None = None) -> bool:
        """Whether an epoch, that of now if none is given, has not left a key's tag out."""
        epoch = epoch or self.epoch
        return epoch is None or epoch.tags[self._keys.tag_of(name)] is not None

    @property
    def left_out(self) -> float:
        """Which share of the tags is, 0 to 1."""
        tags = self.epoch.tags if self.epoch is not None else ()
        return round(tags.count(None) / len(self._keys.tags), 2)

    @property
    def counting(self) -> Epoch | None:
        """The epoch, where whoever is told of it all is everyone who may be believed by anybody."""
        return self.epoch if time.monotonic() >= self.counts_from else None

    async def close(self) -> None:
        """End what is under way."""
        await end_task(self._looking)
        if self._obeying is not None:
            await asyncio.gather(self._obeying, return_exceptions=True)

    async def beat(self, shards: Shards) -> str:
        """A heartbeat of those that are in: the epoch's nonce where it stands, else another text.

        Raises PartlyAwayError where some of them do not take it, or did not until a moment ago, and most of all do;
        else what the first one refused it with.
        """
        epoch = self.epoch
        numbers = self._numbers_in(epoch)
        answers, errors = await self._ask(shards, numbers)
        if errors:
            error = next(iter(errors.values()))
            if not self._are_most(answers):
                raise error
            if self._is_early(errors):
                raise PartlyAwayError(f"a part of the Cluster is away: {error}") from error
            return "to be left out"
        if epoch is None or not epoch.stands(answers):
            return "another"
        if len(numbers) < len(self._keys.tags) and time.monotonic() > self._taken + TAKEN_IN_AFTER_S:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look_for_others(shards, numbers))
            if self._has_returned:
                return "to be taken in"
        return epoch.nonce

    async def obey(self, shards: Shards) -> bool:
        """Whether most of all tags take heartbeats: then somebody may have a licence, or be given one. Whoever asks
        beside another waits for his answer."""
        if self._obeying is None or self._obeying.done():
            self._obeying = asyncio.ensure_future(self._ask(shards, range(len(self._keys.tags))))
        answers, _ = await asyncio.shield(self._obeying)
        return self._are_most(answers)

    async def stands(self, epoch: Epoch, shards: Shards) -> bool:
        """Whether every copy says this epoch still. Raises what redis-py raises."""
        text = epoch.text
        names = [self._keys.epochs[number] for number in self._numbers_in(epoch)]
        owned = shards.by_owner(names)
        told = await asyncio.gather(*(_get_all(shards.node(address), of) for address, of in owned.items()))
        copies = [copy for of in told for copy in of]
        return len(copies) == len(names) and all(copy == text for copy in copies)

    async def agree(self, shards: Shards, timeline: str) -> tuple[str | None, str]:
        """Join the epoch that stands, or begin one without what is away; its nonce, None where there is none, and the
        latest timeline that a copy names. Raises what redis-py raises."""
        answers, errors = await self._ask(shards, range(len(self._keys.tags)))
        held = [epoch for answer in answers.values() if (epoch := decode_epoch(answer.copy)) is not None]
        known = max((epoch.timeline for epoch in held), default="")
        latest = next((epoch for epoch in held if self._is_the_latest(epoch, answers)), None)
        if known > timeline or not self._are_most(answers):
            return None, known
        self._scripts.choose([{"redis_version": answer.version} for answer in answers.values()])
        joins = latest is not None and latest.timeline == timeline and latest.stands(answers)
        if latest is not None and joins and not (self._has_returned and latest == self.epoch):
            if latest != self.epoch:
                self._take(latest, time.monotonic() + licence_over_s(self._settings))
        elif self._is_early(errors):
            return None, known
        else:
            members = tuple(answers[n].identity if n in answers else None for n in range(len(self._keys.tags)))
            epoch = Epoch(new_era() + new_era(), timeline, members)
            if not await self._write(shards, epoch, latest, answers):
                return None, known  # another process has; what it began is looked at next
            # where no copy was ever written nobody has a licence
            is_first = self.epoch is None and not held and not errors
            self._take(epoch, -math.inf if is_first else time.monotonic() + licence_over_s(self._settings))
        assert self.epoch is not None
        # once more: whoever has a tag by now is who it says, and nobody has begun another beside
        return (nonce if (nonce := await self.beat(shards)) == self.epoch.nonce else None), known

    def _take(self, epoch: Epoch, counts_from: float) -> None:
        self.epoch, self.counts_from, self._taken, self._has_returned = epoch, counts_from, time.monotonic(), False

    def _numbers_in(self, epoch: Epoch | None) -> list[int]:
        return [n for n in range(len(self._keys.tags)) if epoch is None or epoch.tags[n] is not None]

    def _are_most(self, answers: Mapping[int, Answer]) -> bool:
        return 2 * len(answers) > len(self._keys.tags)

    def _is_early(self, errors: Iterable[int]) -> bool:
        """Whether one of these may be there again in a moment, or another have taken over."""
        now = time.monotonic()
        return any(now < self._away_since[number] + LEFT_OUT_AFTER_S for number in errors)

    def _is_the_latest(self, epoch: Epoch, answers: Mapping[int, Answer]) -> bool:
        """Whether most of all tags have it, and are whose they were when they got it: a later one would be there."""
        text = epoch.text
        having = {n: a for n, a in answers.items() if a.copy == text and a.identity == epoch.tags[n]}
        return self._are_most(having)

    async def _write(self, shards: Shards, epoch: Epoch, latest: Epoch | None, answers: Mapping[int, Answer]) -> bool:
        """Give each tag its copy, in order, so that of two who begin one the second stops at the first."""
        px = SETTLING_MS if self.epoch is not None else 0
        text = epoch.text
        for number in sorted(answers):
            keeps = (
                latest is not None
                and latest.timeline == epoch.timeline
                and latest.tags[number] == epoch.tags[number]
                and latest.text == answers[number].copy  # else whoever began it has not come to this tag
            )
            generations = [] if keeps else [self._keys.generations(kind)[number] for kind in Kind]
            # the fences of writes under way went with the old one: nothing is filled until those have ended
            new = [fence_of(new_generation()) if px else flushed_generation() for _ in generations]
            done = await self._scripts.begin_tag(
                keys=[self._keys.epochs[number], *generations],
                args=[answers[number].copy, text, px, *new],
                client=shards,
            )
            if not done:
                return False
        return True

    async def _look_for_others(self, shards: Shards, numbers: Sequence[int]) -> None:
        with suppress(*REDIS_FAILED):
            shards.slots.ask_soon()
            others = [n for n in range(len(self._keys.tags)) if n not in numbers]
            _, errors = await self._ask(shards, others)
            self._has_returned = len(errors) < len(others)

    async def _ask(self, shards: Shards, numbers: Sequence[int]) -> tuple[dict[int, Answer], dict[int, BaseException]]:
        """A heartbeat at each server that has one of these tags; what each told, or why not, by tag."""
        await shards.initialize()
        number_of = {self._keys.heartbeats[number]: number for number in numbers}
        owned = shards.by_owner(number_of)
        told = await asyncio.gather(
            *(
                self._ask_one(shards.node(address), [number_of[name] for name in names])
                for address, names in owned.items()
            ),
            return_exceptions=True,
        )
        answers: dict[int, Answer] = {}
        errors: dict[int, BaseException] = {n: RedisConnectionError("nobody has this slot") for n in numbers}
        for names, answer in zip(owned.values(), told, strict=True):
            for name in names:
                if isinstance(answer, BaseException):
                    errors[number_of[name]] = answer
                else:
                    del errors[number_of[name]]
                    answers[number_of[name]] = answer[number_of[name]]
        for number in answers:
            self._away_since.pop(number, None)
        for number in errors:
            self._away_since.setdefault(number, time.monotonic())
        if errors:
            shards.slots.ask_soon()
        return answers, errors

    async def _ask_one(self, node: Any, numbers: Sequence[int]) -> dict[int, Answer]:
        """Do what an invalidation does, to a key that nobody reads."""
        name = self._keys.heartbeats[numbers[0]]
        async with asyncio.timeout(self._settings.timeout_s):
            try:
                await self._beat_and_remove(node, name)
            except NoScriptError:
                for script in (self._scripts.bump, self._scripts.remove):
                    await node.script_load(script.script)
                await self._beat_and_remove(node, name)
            except ResponseError:
                await node.delete(name)  # as an invalidation does where memory is full
            async with node.pipeline(transaction=False) as pipe:
                pipe.info("server")
                pipe.info("replication")
                for number in numbers:
                    pipe.get(self._keys.epochs[number])
                server, replication, *copies = await pipe.execute()
        if replication["role"] != "master":
            raise ReadOnlyError("this Redis is a replica")
        identity = f"{server['run_id']}.{replication['master_replid']}"
        return {
            number: Answer(identity, copy or b"", str(server["redis_version"]))
            for number, copy in zip(numbers, copies, strict=True)
        }

    async def _beat_and_remove(self, node: Any, name: str) -> None:
        async with node.pipeline(transaction=False) as pipe:
            pipe.evalsha(self._scripts.bump.sha, 1, name, fence_of(""), new_generation())
            pipe.evalsha(self._scripts.remove.sha, 1, name, "")
            await pipe.execute()


async def _get_all(node: Any, names: Sequence[str]) -> list[bytes | None]:
    async with node.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.get(name)
        copies: list[bytes | None] = await pipe.execute()
        return copies
