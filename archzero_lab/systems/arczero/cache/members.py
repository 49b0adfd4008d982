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

from redis.exceptions import AskError, MovedError
from redis.exceptions import ConnectionError as RedisConnectionError

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.clients import REDIS_FAILED
from archzero_lab.systems.arczero.cache.epochs import Answer, Epoch, ask_tags, decode_epoch
from archzero_lab.systems.arczero.cache.heartbeat import beat_on
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
_LOOKS_EVERY_S = 1.0
"""For those that are left out."""


class PartlyAwayError(RedisConnectionError):
    """Some of a Cluster is away, most of it is not."""


class Members:
    """One process's knowledge of the epoch."""

    def __init__(self, keys: Keyspace, scripts: Scripts, settings: CacheSettings) -> None:
        self._keys, self._scripts, self._settings = keys, scripts, settings
        self._all = range(len(keys.tags))
        self.epoch: Epoch | None = None
        self.counts_from = math.inf
        """From when on (monotonic) no licence of another epoch is left."""
        self._away_since: dict[int, float] = {}
        """From when on each tag was seen to be away; leaving out one that was not is safe, only dear."""
        self._obeying: asyncio.Future[tuple[dict[int, Answer], dict[int, BaseException]]] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._taken = self._looked = -math.inf
        self._has_returned = False

    def has(self, name: str, epoch: Epoch | None = None) -> bool:
        """Whether an epoch, that of now if none is given, has not left a key's tag out."""
        epoch = epoch or self.epoch
        return epoch is None or epoch.tags[self._keys.tag_of(name)] is not None

    @property
    def left_out(self) -> float:
        """Which share of the tags is, 0 to 1."""
        tags = self.epoch.tags if self.epoch is not None else ()
        return round(tags.count(None) / len(self._all), 2)

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
        members = self._numbers_in(epoch)
        # where one of them was away others may have returned, and be most together with those that are left
        answers, errors = await self._ask(shards, self._all if self._away_since.keys() & members else members)
        missing = [number for number in members if number in errors]
        if missing:
            error = errors[missing[0]]
            if not self._are_most(answers):
                raise error
            if self._is_early(missing):
                raise PartlyAwayError(f"a part of the Cluster is away: {error}") from error
            return "to be left out"
        if epoch is None or not epoch.stands(answers):
            return "another"
        now = time.monotonic()
        if len(members) < len(self._all) and now > self._taken + TAKEN_IN_AFTER_S:
            if now > self._looked + _LOOKS_EVERY_S and (self._looking is None or self._looking.done()):
                self._looked = now
                self._looking = asyncio.create_task(self._look_for_others(shards, members))
            if self._has_returned:
                return "to be taken in"
        return epoch.nonce

    async def obey(self, shards: Shards) -> bool:
        """Whether most of all tags take heartbeats, and an epoch may stand, or could be begun: then somebody may have a
        licence, or be given one. Whoever asks beside another waits for his answer."""
        if self._obeying is None or self._obeying.done():
            self._obeying = asyncio.ensure_future(self._ask(shards, self._all))
            self._obeying.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        answers, errors = await asyncio.shield(self._obeying)
        if not self._are_most(answers):
            return False
        may_stand = any(epoch.may_stand(answers) for epoch in _epochs_of(answers))
        return may_stand or self._may_begin(answers, errors)

    async def stands(self, epoch: Epoch, shards: Shards) -> bool:
        """Whether every copy says this epoch still, and everyone is who it says. Raises what redis-py raises."""
        number_of = {self._keys.epochs[number]: number for number in self._numbers_in(epoch)}
        owned = shards.by_owner(number_of)
        asked = (ask_tags(shards.node(address), names) for address, names in owned.items())
        told = await asyncio.gather(*asked, return_exceptions=True)
        answers: dict[int, Answer] = {}
        for names, answer in zip(owned.values(), told, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            answers |= {number_of[name]: of for name, of in zip(names, answer, strict=True) if isinstance(of, Answer)}
        return epoch.stands(answers)

    async def agree(self, shards: Shards, timeline: str) -> tuple[str | None, str]:
        """Join the epoch that stands, or begin one without what is away; its nonce, None where there is none, and the
        latest timeline that a copy names. Raises what redis-py raises."""
        answers, errors = await self._ask(shards, self._all)
        held = _epochs_of(answers)
        known = max((epoch.timeline for epoch in held), default="")
        latest = self._latest_of(answers)
        if timeline and known > timeline:
            return None, known
        self._scripts.choose([{"redis_version": answer.version} for answer in answers.values()])
        joins = latest is not None and latest.timeline == timeline and latest.stands(answers)
        may_begin = not self._is_early(errors) and self._may_begin(answers, errors)
        has_others = latest is not None and any(latest.tags[number] is None for number in answers)
        takes_in = self._has_returned and latest == self.epoch and has_others and may_begin
        if latest is not None and joins and not takes_in:
            if latest != self.epoch:
                self._take(latest, time.monotonic() + licence_over_s(self._settings))
            self._has_returned = False  # what was there a moment ago is gone again
        elif not may_begin:
            return None, known
        else:
            members = tuple(answers[n].identity if n in answers else None for n in self._all)
            number = max((epoch.number for epoch in held), default=0) + 1
            epoch = Epoch(new_era() + new_era(), number, timeline, members)
            if not await self._write(shards, epoch, latest, answers):
                return None, known  # another process has; what it began is looked at next
            # where no copy was ever written nobody has a licence
            is_first = self.epoch is None and not held and not errors
            self._take(epoch, -math.inf if is_first else time.monotonic() + licence_over_s(self._settings))
        assert self.epoch is not None
        # once more: whoever has a tag by now is who it says, and nobody has begun another beside
        return (nonce if (nonce := await self.beat(shards)) == self.epoch.nonce else None), known

    def _take(self, epoch: Epoch, counts_from: float) -> None:
        before = self.epoch
        # where none was in between whoever has a licence of either reads the same servers
        if before is not None and before.tags == epoch.tags and before.number + 1 == epoch.number:
            counts_from = min(counts_from, self.counts_from)
        self.epoch, self.counts_from, self._taken, self._has_returned = epoch, counts_from, time.monotonic(), False

    def _numbers_in(self, epoch: Epoch | None) -> list[int]:
        return [n for n in self._all if epoch is None or epoch.tags[n] is not None]

    def _are_most(self, answers: Mapping[int, Answer]) -> bool:
        return 2 * len(answers) > len(self._all)

    def _may_begin(self, answers: Mapping[int, Answer], errors: Mapping[int, BaseException]) -> bool:
        """Whether no licence of another epoch can go on beside one that is begun.

        With all tags that is so. With most, only where most are whose their copy says, and no later copy says
        otherwise: what another epoch has in common with those may be somebody else's, who leads no more and is believed
        still.
        """
        held = _epochs_of(answers)
        if not errors or not held:
            return self._are_most(answers)
        settled = {
            n: a
            for n, a in answers.items()
            if (own := decode_epoch(a.copy)) is not None
            and own.tags[n] == a.identity
            and all(epoch.tags[n] in (None, a.identity) for epoch in held if epoch.number > own.number)
        }
        return self._are_most(settled)

    def _latest_of(self, answers: Mapping[int, Answer]) -> Epoch | None:
        """The epoch that most of all tags have, and are whose they were when they got it: a later one would be seen."""
        for epoch in _epochs_of(answers):
            text = epoch.text
            having = {n: a for n, a in answers.items() if a.copy == text and a.identity == epoch.tags[n]}
            if self._are_most(having):
                return epoch
        return None

    def _is_early(self, errors: Iterable[int]) -> bool:
        """Whether one of these may be there again in a moment, or another have taken over."""
        now = time.monotonic()
        return any(now < self._away_since[number] + LEFT_OUT_AFTER_S for number in errors)

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
            others = [n for n in self._all if n not in numbers]
            _, errors = await self._ask(shards, others)
            self._has_returned = len(errors) < len(others)

    async def _ask(self, shards: Shards, numbers: Sequence[int]) -> tuple[dict[int, Answer], dict[int, BaseException]]:
        """A heartbeat at each server that has one of these tags; what each told, or why not, by tag."""
        await shards.initialize()
        number_of = {self._keys.heartbeats[number]: number for number in numbers}
        owned = shards.by_owner(number_of)
        asked = (
            self._ask_one(shards.node(address), [number_of[name] for name in names]) for address, names in owned.items()
        )
        told = await asyncio.gather(*asked, return_exceptions=True)
        answers: dict[int, Answer] = {}
        errors: dict[int, BaseException] = {n: RedisConnectionError("nobody has this slot") for n in numbers}
        for names, of_one in zip(owned.values(), told, strict=True):
            for at, name in enumerate(names):
                answer = of_one if isinstance(of_one, BaseException) else of_one[at]
                if isinstance(answer, BaseException):
                    errors[number_of[name]] = answer
                else:
                    del errors[number_of[name]]
                    answers[number_of[name]] = answer
        for number in answers:
            self._away_since.pop(number, None)
        for number in errors:
            self._away_since.setdefault(number, time.monotonic())
        if errors:
            shards.slots.ask_soon()
        return answers, errors

    async def _ask_one(self, node: Any, numbers: Sequence[int]) -> list[Answer | BaseException]:
        """Do what an invalidation does, to a key that nobody reads; what is told of each tag, or why not."""
        async with asyncio.timeout(self._settings.timeout_s):
            for number in numbers:
                try:
                    await beat_on(self._scripts, node, self._keys.heartbeats[number])
                    break
                except (AskError, MovedError):  # it is on its way to another server; the others may not be
                    if number == numbers[-1]:
                        raise
            return await ask_tags(node, [self._keys.epochs[number] for number in numbers])


def _epochs_of(answers: Mapping[int, Answer]) -> list[Epoch]:
    """Those that the copies say."""
    held = {answer.copy: decode_epoch(answer.copy) for answer in answers.values()}
    return [epoch for epoch in held.values() if epoch is not None]
