"""What a slot holds: a value, a lease of somebody who loads, or a fence of somebody who writes."""

from __future__ import annotations

from dataclasses import dataclass

from archzero_lab.cards.model import Document

_HEADER = 1 + 16 + 10 + 2


@dataclass(frozen=True, slots=True)
class Miss:
    """No valid value. `generation` is what was read beside the slot ("" where there is none yet).

    `lease` is the token of whoever loads it now; `fenced` says that a write is under way.
    """

    generation: str
    lease: str | None = None
    fenced: bool = False


def encode_value(generation: str, document: Document) -> bytes:
    """V, generation (16), version (10 digits), length of the ETag (2 digits), ETag, document.

    Fixed widths, so that the scripts in Redis can compare versions without parsing JSON.
    """
    header = f"V{generation}{document.version:010d}{len(document.etag):02d}{document.etag}"
    return header.encode() + document.body


def decode(slot: bytes | None, generation: bytes | None) -> Document | Miss:
    """The document of a slot whose value carries the current generation, else a Miss."""
    current = generation.decode() if generation is not None else ""
    if slot is None or generation is None:
        return Miss(current)
    kind = slot[:1]
    if kind == b"V":
        if slot[1:17] != generation:
            return Miss(current)
        end = _HEADER + int(slot[27:29])
        return Document(slot[end:], slot[_HEADER:end].decode(), int(slot[17:27]))
    if kind == b"L":
        return Miss(current, lease=slot[1:].decode())
    return Miss(current, fenced=kind == b"F")
