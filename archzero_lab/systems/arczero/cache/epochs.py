"""What a tag of a Cluster tells: who has it, and its copy of the epoch, which says of each tag who had it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tag's server told: who it is, and its copy of the epoch."""

    identity: str
    copy: bytes
    version: str


class Epoch(msgspec.Struct, frozen=True):
    """Who had each tag when it began, None for what was left out; `nonce` is of no other epoch."""

    nonce: str
    timeline: str
    tags: tuple[str | None, ...]

    @property
    def text(self) -> bytes:
        """As each tag has it."""
        return msgspec.json.encode(self)

    def stands(self, answers: Mapping[int, Answer]) -> bool:
        """Whether every tag that is in has answered, is whose it says, and has this very copy."""
        text = self.text
        members = [number for number, identity in enumerate(self.tags) if identity is not None]
        return all(
            number in answers and answers[number].copy == text and answers[number].identity == self.tags[number]
            for number in members
        )


def decode_epoch(copy: bytes) -> Epoch | None:
    """The epoch of a tag's copy, None for none."""
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(copy, type=Epoch)
    return None
