"""An answer of HTTP/1.1 read from a socket: with a length, in chunks, or up to the connection's end (RFC 9112, 6)."""

from __future__ import annotations

import socket
import zlib
from dataclasses import dataclass

from archzero_lab.errors import MeasurementError

_HEAD_END = b"\r\n\r\n"
_MOST_HEAD = 1 << 20
_MOST_UNPACKED = 1 << 28


class MalformedAnswerError(MeasurementError):
    """What came is no answer of HTTP/1.1; the text says what it is."""


@dataclass(frozen=True)
class Answer:
    """`head` as it came, `closes` where the connection is not to be used again."""

    status: int
    head: bytes
    body: bytes
    closes: bool


def read_answer(connection: socket.socket, method: str) -> Answer:
    """Read one answer. Raises OSError where the connection ends or stops, MalformedAnswerError for what is none."""
    received = _received_head(connection)
    while received.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):  # 100 Continue, 103 Early Hints: not yet the answer
        received = received[received.find(_HEAD_END) + 4 :]
        received = _received_head(connection, received)
    end = received.find(_HEAD_END)
    came, body = received[:end], received[end + 4 :]
    head = came.lower()
    if not head.startswith(b"http/1."):
        raise MalformedAnswerError(f"answered with what is not HTTP/1.1: {head[:40]!r}")
    try:
        status = int(head[9:12])
    except ValueError:
        raise MalformedAnswerError(f"answered with the status line {head[:40]!r}") from None
    closes = b"\r\nconnection: close" in head or head.startswith(b"http/1.0")
    if method == "HEAD" or status in (204, 304):
        return Answer(status, came, b"", closes)
    at = head.find(b"\r\ncontent-length:")
    if b"\r\ntransfer-encoding:" in head and b"chunked" in head:
        return Answer(status, came, _chunked(connection, body), closes)
    if at < 0:
        return Answer(status, came, _up_to_the_end(connection, body), True)
    length = int(head[at + 17 :].split(b"\r\n", 1)[0])
    return Answer(status, came, _whole(connection, body, length), closes)


def header(head: bytes, name: bytes) -> bytes:
    """A header's value, in lower case; empty where there is none."""
    at = head.find(b"\r\n" + name + b":")
    return head[at + len(name) + 3 :].split(b"\r\n", 1)[0].strip() if at >= 0 else b""


def unpacked(head: bytes, body: bytes) -> bytes:
    """A body without the packing that its head names, up to 256 MB. Raises MalformedAnswerError."""
    coding = header(head, b"content-encoding")
    if coding not in (b"gzip", b"x-gzip", b"deflate") or not body:
        return body
    reader = zlib.decompressobj(wbits=47 if coding != b"deflate" else 15)
    try:
        plain = reader.decompress(body, _MOST_UNPACKED)
    except zlib.error as error:
        raise MalformedAnswerError(f"answered with broken {coding.decode()}: {error}") from None
    if reader.unconsumed_tail:
        raise MalformedAnswerError("answered with more than 256 MB packed in it")
    return plain


def _more(connection: socket.socket, size: int = 65_536) -> bytes:
    more = connection.recv(size)
    if not more:
        raise ConnectionResetError("connection closed")
    return more


def _received_head(connection: socket.socket, received: bytes = b"") -> bytes:
    if not received:
        received = _more(connection)
    while received.find(_HEAD_END) < 0:
        if len(received) > _MOST_HEAD:
            raise MalformedAnswerError("answered with a head of more than 1 MB")
        received += _more(connection)
    return received


def _whole(connection: socket.socket, body: bytes, length: int) -> bytes:
    if len(body) >= length:
        return body[:length]
    parts, size = [body], len(body)
    while size < length:
        more = _more(connection, 262_144)
        parts.append(more)
        size += len(more)
    return b"".join(parts)


def _chunked(connection: socket.socket, received: bytes) -> bytes:
    parts = []
    while True:
        while (end := received.find(b"\r\n")) < 0:
            received += _more(connection)
        try:
            size = int(received[:end].split(b";", 1)[0], 16)
        except ValueError:
            raise MalformedAnswerError(f"answered in chunks, with one of the size {received[:end][:40]!r}") from None
        received = received[end + 2 :]
        if size == 0:
            break
        chunk = _whole(connection, received, size + 2) if len(received) < size + 2 else received
        parts.append(chunk[:size])
        received = chunk[size + 2 :]
    while not (received.startswith(b"\r\n") or b"\r\n\r\n" in received):  # trailers
        received += _more(connection)
    return b"".join(parts)


def _up_to_the_end(connection: socket.socket, body: bytes) -> bytes:
    parts = [body]
    while more := connection.recv(262_144):
        parts.append(more)
    return b"".join(parts)
