"""An answer as it goes out: status, headers, body. One way for the framework and for the path in front of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from archzero_lab.errors import InventoryError
from archzero_lab.systems.arczero.cards.model import (
    CardsError,
    Conflict,
    Document,
    InvalidReference,
    InvalidValue,
    NotFound,
    Unavailable,
    VersionMismatch,
)

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1
_STATUS: dict[type[Exception], tuple[int, str]] = {
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
    VersionMismatch: (412, "version_mismatch"),
    InvalidReference: (422, "invalid_reference"),
    InvalidValue: (422, "invalid_value"),
    InventoryError: (422, "invalid_row"),
    Unavailable: (503, "unavailable"),
}
_JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def sent_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers with Content-Length, which a 304 has none of."""
        length = () if self.status == 304 else ((b"content-length", b"%d" % len(self.body)),)
        return [*self.headers, *length]


def of_document(document: Document, if_none_match: str | None = None, status: int = 200) -> Answer:
    """The document with its ETag, or 304 where the client has it already."""
    etag = (b"etag", f'"{document.etag}"'.encode())
    if if_none_match is not None and matches(if_none_match, document.etag):
        return Answer(304, (etag,), b"")
    return Answer(status, (_JSON, etag), document.body)


def ok_lines(document: Document) -> bytes:
    """The header lines of a whole document, as of_document() and sent_headers() have them, with the empty one."""
    return b'content-type: application/json\r\netag: "%b"\r\ncontent-length: %d\r\n\r\n' % (
        document.etag.encode(),
        len(document.body),
    )


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they go out."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def of_error(status: int, code: str, message: str, field: str | None = None, details: Any = None) -> Answer:
    """An error in the contract's form: {"error": {"code", "message", "field"?, "details"?}}."""
    body: dict[str, Any] = {"code": code, "message": message}
    if field:
        body["field"] = field
    if details:
        body["details"] = details
    later = ((b"retry-after", str(RETRY_AFTER_S).encode()),) if status == 503 else ()
    return Answer(status, (_JSON, *later), msgspec.json.encode({"error": body}))


def of_exception(error: Exception) -> Answer:
    """What went wrong in a card service; what is no error of the contract is a fault of ours: logged, not told."""
    if isinstance(error, CardsError | InventoryError) and type(error) in _STATUS:
        status, code = _STATUS[type(error)]
        return of_error(status, code, str(error))
    log.error("unexpected", exc_info=error)
    return of_error(500, "internal", "an unexpected error; it has been logged")


async def send_answer(answer: Answer, send: Any) -> None:
    """Send an answer by ASGI."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.sent_headers()})
    await send({"type": "http.response.body", "body": answer.body})


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match names this ETag (weakly compared, as RFC 9110 asks for reads)."""
    if header is None:
        return False
    return header.strip() == "*" or any(
        part.strip().removeprefix("W/").strip('"') == etag for part in header.split(",")
    )


def is_strict(cache_control: str | None) -> bool:
    """Whether Cache-Control asks for what Redis or the database says now: no-cache or no-store among its directives."""
    if cache_control is None:
        return False
    return not {"no-cache", "no-store"}.isdisjoint(part.strip().lower() for part in cache_control.split(","))
