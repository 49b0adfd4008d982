"""What a slot holds: a value, a lease of somebody who loads, or a fence of somebody who writes."""

from __future__ import annotations

import math
import random
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from archzero_lab.systems.arczero.cache.dependencies import NAME_BYTES
from archzero_lab.systems.arczero.cards.model import Document

# V generation(16) version(10) soft expiry in ms(13) load time in ms(6) compressed(1) length of the ETag(2) sequence
# number(20) number of dependencies(3), then their names (12 each), ETag and body; fixed widths, so that the scripts in
# Redis can compare versions without parsing JSON
_HEADER = 1 + 16 + 10 + 13 + 6 + 1 + 2 + 20 + 3
IDENTITY = 1 + 16 + 10 + 13 + 6
"""So many first bytes tell one stored value from the next: a refresh replaces only the very value that it saw."""
ERA_BYTES = 8
NO_SEQUENCE = "0" * 20
"""Of a value that depends on nothing but its generation: a card, or anything in a Cluster."""
FLUSHED = "x"
"""What a generation begins with that no write made: values under an older one have not been thrown away by a change."""
MOST_NAMES = 999
"""Of an entry's dependencies; no question that the API takes has so many."""

MOST_BYTES = 2 * 2**20
"""Of an answer that is kept: a larger one would take Redis longer than anybody waits for it."""
COMPRESS_FROM_BYTES = 16_384
"""zlib saves two thirds of the memory and, on loopback, never time: 40 microseconds more a hit at 29 kB, 140 at 72 kB
(benchmarks/compression.py). So the pages that are read most, 20 cards in 15 kB, stay as they are; what is larger and
rarer does not crowd them out."""

_MOST_EARLY = 53 * math.log(2)
"""The greatest -log(1 - random()): of the greatest number below 1 that random() gives."""

NOT_FOUND = Document(b"", "-", 0)
"""Stored for a short time where there is no such card."""


@dataclass(frozen=True, slots=True)
class Miss:
    """No valid value. `generation` is what was read beside the slot ("" where there is none yet).

    `lease` is the token and the generation of whoever loads it now, with dependencies the sequence number too; `fenced`
    says that a write is under way; `was` is the ETag of a value that is there and that a change made invalid.
    """

    generation: str
    lease: str | None = None
    fenced: bool = False
    was: str | None = None


class Hit(msgspec.Struct, frozen=True):
    """A valid value; `document` is NOT_FOUND itself where that was stored.

    Past `soft_expiry_ms` (epoch) it may still be served while it is loaded anew.
    It is valid only if nothing that it depends on (`names`, one after the other) has changed since the sequence number
    `sequence`, an era and a number.
    """

    document: Document
    soft_expiry_ms: int
    load_ms: int
    identity: bytes
    names: bytes = b""
    sequence: bytes = b""

    def wants_refresh(self, beta: float = 1.0) -> bool:
        """Whether this reader should load it anew, now or a little before the expiry (XFetch).

        Vattani, Chierichetti & Lowenstein, Optimal Probabilistic Cache Stampede Prevention, VLDB 2015: the dearer the
        load and the nearer the expiry, the likelier; so one of many readers does it early, not all of them late.
        """
        now_ms = time.time() * 1000
        if now_ms + self.load_ms * beta * _MOST_EARLY < self.soft_expiry_ms:
            return False  # whatever was drawn: the usual case, without drawing
        return now_ms - self.load_ms * beta * math.log(1 - random.random()) >= self.soft_expiry_ms

    def holds(self, dependencies: Sequence[bytes | None]) -> bool:
        """Whether no dependency has changed since the load: each is there, of nobody's write, and not younger."""
        era, number = self.sequence[:ERA_BYTES], self.sequence[ERA_BYTES:]
        lowest, highest = b"S" + era + b"0" * len(number), b"S" + self.sequence
        return all(place is not None and lowest <= place <= highest for place in dependencies)


def encode_rest(
    document: Document, soft_expiry_ms: int, load_ms: int, sequence: str = NO_SEQUENCE, names: Sequence[str] = ()
) -> bytes:
    """A value without its first 17 bytes (V and generation), which a script may have to put before it."""
    body, compressed = document.body, 0
    if len(body) >= COMPRESS_FROM_BYTES:
        packed = zlib.compress(body, 1)
        if len(packed) < 0.8 * len(body):
            body, compressed = packed, 1
    etag = document.etag
    load_ms = min(max(load_ms, 0), 999_999)
    head = f"{document.version:010d}{soft_expiry_ms:013d}{load_ms:06d}{compressed}{len(etag):02d}"
    return f"{head}{sequence}{len(names):03d}{''.join(names)}{etag}".encode() + body


def encode_value(
    generation: str,
    document: Document,
    soft_expiry_ms: int,
    load_ms: int,
    sequence: str = NO_SEQUENCE,
    names: Sequence[str] = (),
) -> bytes:
    """A whole value under a generation, loaded after that sequence number was read."""
    return b"V" + generation.encode() + encode_rest(document, soft_expiry_ms, load_ms, sequence, names)


def decode(slot: bytes | None, generation: bytes | None) -> Hit | Miss:
    """The value of a slot where it carries the current generation, else a Miss.

    A generation that begins with F is one that somebody is about to change: nothing under it is valid. A Hit's
    dependencies are not looked at here.
    """
    if generation is None:
        return Miss("")
    if generation[:1] == b"F":
        return Miss("", fenced=True)
    if slot is None:
        return Miss(generation.decode())
    kind = slot[:1]
    if kind == b"V":
        names_end = _HEADER + NAME_BYTES * int(slot[69:72])
        end = names_end + int(slot[47:49])
        etag = slot[names_end:end].decode()
        if slot[1:17] != generation:
            return Miss(generation.decode(), was=None if generation.startswith(FLUSHED.encode()) else etag)
        body = slot[end:]
        if slot[46:47] == b"1":
            body = zlib.decompress(body)
        document = NOT_FOUND if etag == NOT_FOUND.etag else Document(body, etag, int(slot[17:27]))
        names = slot[_HEADER:names_end]
        return Hit(document, int(slot[27:40]), int(slot[40:46]), slot[:IDENTITY], names, slot[49:69])
    if kind == b"L":
        # a new generation voids a group's leases without touching their slots
        return Miss(generation.decode(), lease=slot[1:].decode() if slot[17:] == generation else None)
    return Miss(generation.decode(), fenced=True)
