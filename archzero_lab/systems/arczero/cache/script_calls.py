"""The scripts of the protocol, registered with a client, and how they are called."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from redis.exceptions import NoScriptError

from archzero_lab.systems.arczero.cache import scripts, writer_scripts
from archzero_lab.systems.arczero.cache.entries import FLUSHED

Call = Callable[[Any], Awaitable[Any]]
"""A command, to be sent by the client or put into the pipeline that it is given."""


class Scripts:
    """Each script, to be called with `keys`, `args` and a `client`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._allow_oom = False
        self.lease = client.register_script(scripts.LEASE)
        self.fill = client.register_script(scripts.FILL)
        self.take_turn = client.register_script(scripts.TAKE_TURN)
        self.refill = client.register_script(scripts.REFILL)
        self.release = client.register_script(scripts.RELEASE)
        self.unfence = client.register_script(writer_scripts.UNFENCE)
        self.put = client.register_script(writer_scripts.PUT)
        self.settle = client.register_script(writer_scripts.SETTLE)
        self._register_announcing("")

    def _register_announcing(self, head: str) -> None:
        self.bump = self._client.register_script(head + writer_scripts.BUMP)
        self.fence = self._client.register_script(head + writer_scripts.FENCE)
        self.claim = self._client.register_script(head + writer_scripts.CLAIM)
        self.announce = self._client.register_script(head + writer_scripts.ANNOUNCE)
        self.tell = self._client.register_script(head + writer_scripts.TELL)
        self.done = self._client.register_script(head + writer_scripts.DONE)
        self.remove = self._client.register_script(head + writer_scripts.REMOVE)
        self.begin_epoch = self._client.register_script(head + writer_scripts.BEGIN_EPOCH)
        self.begin_tag = self._client.register_script(head + writer_scripts.BEGIN_TAG)
        self.advance = self._client.register_script(head + writer_scripts.ADVANCE)

    def choose(self, servers: Iterable[dict[str, Any]]) -> None:
        """Take those that work while memory is full, where every server knows how."""
        able = all(int(str(server["redis_version"]).split(".")[0]) >= 7 for server in servers)
        if able != self._allow_oom:
            self._allow_oom = able
            self._register_announcing(writer_scripts.ALLOW_OOM if able else "")


def script_call(script: Any, keys: list[str], args: list[Any]) -> Call:
    """A script's call, to be sent or put into a pipeline."""
    return lambda client: script(keys=keys, args=args, client=client)


async def send_in_one(client: Any, calls: Sequence[Call]) -> list[Any]:
    """All calls in one round trip, their answers; those of a script that Redis does not know are sent again with it.

    Raises the first error that Redis answered, when all calls were done or refused.
    """
    answers: list[Any] = [None] * len(calls)
    left = list(range(len(calls)))
    for again in (True, False):
        async with client.pipeline(transaction=False) as pipe:
            for number in left:
                await calls[number](pipe)
            scripts = [script.script for script in pipe.scripts]
            pipe.scripts.clear()  # or a round trip would ask first whether Redis knows them
            for number, answer in zip(left, await pipe.execute(raise_on_error=False), strict=True):
                answers[number] = answer
        left = [number for number in left if isinstance(answers[number], NoScriptError)]
        if not (left and again):
            break
        for script in scripts:
            await client.script_load(script)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def new_generation() -> str:
    """A generation that none had before."""
    return secrets.token_hex(8)


def flushed_generation() -> str:
    """One that nothing made necessary but a flush or another Redis: what was there may be what will be loaded again."""
    return FLUSHED + secrets.token_hex(8)[1:]


def new_era() -> str:
    """An era of sequence numbers that none had before."""
    return secrets.token_hex(4)


def new_seed() -> int:
    """A number to count from that none will have come to before."""
    return secrets.randbelow(10**15)


def fence_of(token: str) -> str:
    """A writer's claim on a generation: F and as many of its token's digits as there is room for."""
    return ("F" + token)[:16].ljust(16, "0")
