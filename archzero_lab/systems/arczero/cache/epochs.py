"""What a tag of a Cluster tells: who has it, and its copy of the epoch, which says of each tag who had it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.exceptions import ReadOnlyError

from archzero_lab.systems.arczero.cache.keys import CLUSTER_TAGS


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tag's server told: who it is, and its copy of the epoch."""

    identity: str
    copy: bytes
    version: str


class Epoch(msgspec.Struct, frozen=True):
    """Who had each tag when it began, None for what was left out.

    `nonce` is of no other epoch, `number` greater than of those that it follows.
    """

    nonce: str
    number: int
    timeline: str
    tags: tuple[str | None, ...]

    @property
    def text(self) -> bytes:
        """As each tag has it."""
        return msgspec.json.encode(self)

    def stands(self, answers: Mapping[int, Answer]) -> bool:
        """Whether every tag that is in has answered, is whose it says, and has this very copy."""
        return self.may_stand(answers) and all(n in answers for n, who in enumerate(self.tags) if who is not None)

    def may_stand(self, answers: Mapping[int, Answer]) -> bool:
        """Whether that is so of all that have answered."""
        text = self.text
        return all(
            answers[number].copy == text and answers[number].identity == identity
            for number, identity in enumerate(self.tags)
            if identity is not None and number in answers
        )


async def ask_tags(node: Any, copies: Sequence[str]) -> list[Answer | BaseException]:
    """What a server tells of itself and of each tag. Raises what redis-py raises, ReadOnlyError for a replica."""
    async with node.pipeline(transaction=False) as pipe:
        pipe.info("server")
        pipe.info("replication")
        for name in copies:
            pipe.get(name)
        server, replication, *told = await pipe.execute(raise_on_error=False)
    for answer in (server, replication):
        if isinstance(answer, BaseException):
            raise answer
    if replication["role"] != "master":
        raise ReadOnlyError("this Redis is a replica")
    identity, version = f"{server['run_id']}.{replication['master_replid']}", str(server["redis_version"])
    return [copy if isinstance(copy, BaseException) else Answer(identity, copy or b"", version) for copy in told]


def decode_epoch(copy: bytes) -> Epoch | None:
    """The epoch of a tag's copy, None for none."""
    with suppress(msgspec.MsgspecError):
        epoch = msgspec.json.decode(copy, type=Epoch)
        return epoch if len(epoch.tags) == CLUSTER_TAGS else None  # else another version's
    return None
