"""PostgreSQL's wire protocol, version 3, as far as a relay must know it to see which statements are asked and answered.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement that a client sent: its text, and of a bound one its values and formats (0 text, 1 binary)."""

    text: str
    values: tuple[bytes | None, ...] = ()
    types: tuple[int, ...] = ()
    formats: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    simple: bool = False


class Messages:
    """Cuts a stream of one direction into messages: (type, body); those of a beginning client have the type b""."""

    def __init__(self, *, client: bool) -> None:
        self._buffer = bytearray()
        self._starting = client

    def started(self) -> None:
        """The beginning is over: every message has a type from now on."""
        self._starting = False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Each message that is whole now: its type, its body and all of its bytes."""
        self._buffer += data
        while True:
            head = 0 if self._starting else 1
            if len(self._buffer) < head + 4:
                return
            (length,) = struct.unpack_from("!i", self._buffer, head)
            if len(self._buffer) < head + length:
                return
            raw = bytes(self._buffer[: head + length])
            del self._buffer[: head + length]
            yield raw[:head], raw[head + 4 :], raw


class Statements:
    """What a client has prepared and bound, told message by message."""

    def __init__(self) -> None:
        self._prepared: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._bound: dict[str, Asked] = {}

    def read_message(self, kind: bytes, body: bytes) -> Asked | None:
        """The statement that this message asks to be run; None where it asks for none."""
        if kind == b"Q":
            return Asked(_text(body, 0)[0], simple=True)
        if kind == b"P":
            name, at = _text(body, 0)
            text, at = _text(body, at)
            (count,) = struct.unpack_from("!h", body, at)
            self._prepared[name] = (text, struct.unpack_from(f"!{count}I", body, at + 2))
        elif kind == b"B":
            portal, question = self._bind(body)
            self._bound[portal] = question
        elif kind == b"E":
            return self._bound.get(_text(body, 0)[0])
        elif kind == b"C":
            name, _ = _text(body, 1)
            (self._prepared if body[:1] == b"S" else self._bound).pop(name, None)
        return None

    def _bind(self, body: bytes) -> tuple[str, Asked]:
        portal, at = _text(body, 0)
        name, at = _text(body, at)
        formats, at = _shorts(body, at)
        (count,) = struct.unpack_from("!h", body, at)
        at += 2
        values: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", body, at)
            at += 4
            values.append(None if length < 0 else body[at : at + length])
            at += max(length, 0)
        results, at = _shorts(body, at)
        text, types = self._prepared.get(name, ("", ()))
        return portal, Asked(text, tuple(values), types, formats, results)


def data_row(body: bytes) -> tuple[bytes | None, ...]:
    """The cells of a DataRow."""
    (count,) = struct.unpack_from("!h", body, 0)
    at, cells = 2, list[bytes | None]()
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        cells.append(None if length < 0 else body[at : at + length])
        at += max(length, 0)
    return tuple(cells)


def startup_parameters(body: bytes) -> dict[str, str]:
    """user, database and the rest of a StartupMessage, after its version."""
    words = body[4:].split(b"\0")
    return {key.decode(): value.decode() for key, value in zip(words[::2], words[1::2], strict=False) if key}


def _text(body: bytes, at: int) -> tuple[str, int]:
    end = body.index(b"\0", at)
    return body[at:end].decode("utf-8", "replace"), end + 1


def _shorts(body: bytes, at: int) -> tuple[tuple[int, ...], int]:
    (count,) = struct.unpack_from("!h", body, at)
    return struct.unpack_from(f"!{count}h", body, at + 2), at + 2 + 2 * count
