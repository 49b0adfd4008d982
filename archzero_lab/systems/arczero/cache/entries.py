"""What a slot holds: a value, a lease of somebody who loads, or a fence of somebody who writes."""

from __future__ import annotations

import math
import random
import time
import zlib
from dataclasses import dataclass

from archzero_lab.systems.arczero.cards.model import Document

# V generation(16) version(10) soft expiry in ms(13) load time in ms(6) compressed(1) length of the ETag(2), then ETag
# and body; fixed widths, so that the scripts in Redis can compare versions without parsing JSON
_HEADER = 1 + 16 + 10 + 13 + 6 + 1 + 2
IDENTITY = _HEADER - 3
"""So many first bytes tell one stored value from the next: a refresh replaces only the very value that it saw."""

COMPRESS_FROM_BYTES = 16_384
"""zlib saves two thirds of the memory and, on loopback, never time: 40 microseconds more a hit at 29 kB, 140 at 72 kB
(benchmarks/compression.py). So the pages that are read most, 20 cards in 15 kB, stay as they are; what is larger and
rarer does not crowd them out."""

NOT_FOUND = Document(b"", "-", 0)
"""Stored for a short time where there is no such card."""


@dataclass(frozen=True, slots=True)
class Miss:
    """No valid value. `generation` is what was read beside the slot ("" where there is none yet).

    `lease` is the token and the generation of whoever loads it now; `fenced` says that a write is under way.
    """

    generation: str
    lease: str | None = None
    fenced: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A valid value. Past `soft_expiry_ms` (epoch) it may still be served while it is loaded anew."""

    document: Document
    soft_expiry_ms: int
    load_ms: int
    identity: bytes

    def wants_refresh(self, beta: float = 1.0) -> bool:
        """Whether this reader should load it anew, now or a little before the expiry (XFetch).

        Vattani, Chierichetti & Lowenstein, Optimal Probabilistic Cache Stampede Prevention, VLDB 2015: the dearer the
        load and the nearer the expiry, the likelier; so one of many readers does it early, not all of them late.
        """
        early_ms = self.load_ms * beta * -math.log(1 - random.random())
        return time.time() * 1000 + early_ms >= self.soft_expiry_ms


def encode_rest(document: Document, soft_expiry_ms: int, load_ms: int) -> bytes:
    """A value without its first 17 bytes (V and generation), which a script may have to put before it."""
    body, compressed = document.body, 0
    if len(body) >= COMPRESS_FROM_BYTES:
        packed = zlib.compress(body, 1)
        if len(packed) < 0.8 * len(body):
            body, compressed = packed, 1
    etag = document.etag
    load_ms = min(max(load_ms, 0), 999_999)
    return f"{document.version:010d}{soft_expiry_ms:013d}{load_ms:06d}{compressed}{len(etag):02d}{etag}".encode() + body


def encode_value(generation: str, document: Document, soft_expiry_ms: int, load_ms: int) -> bytes:
    """A whole value under a generation."""
    return b"V" + generation.encode() + encode_rest(document, soft_expiry_ms, load_ms)


def decode(slot: bytes | None, generation: bytes | None) -> Hit | Miss:
    """The value of a slot where it carries the current generation, else a Miss.

    A generation that begins with F is one that somebody is about to change: nothing under it is valid.
    """
    if generation is None:
        return Miss("")
    if generation[:1] == b"F":
        return Miss("", fenced=True)
    if slot is None:
        return Miss(generation.decode())
    kind = slot[:1]
    if kind == b"V":
        if slot[1:17] != generation:
            return Miss(generation.decode())
        end = _HEADER + int(slot[47:49])
        body = slot[end:]
        if slot[46:47] == b"1":
            body = zlib.decompress(body)
        document = Document(body, slot[_HEADER:end].decode(), int(slot[17:27]))
        return Hit(document, int(slot[27:40]), int(slot[40:46]), slot[:IDENTITY])
    if kind == b"L":
        # a new generation voids a group's leases without touching their slots
        return Miss(generation.decode(), lease=slot[1:].decode() if slot[17:] == generation else None)
    return Miss(generation.decode(), fenced=True)
