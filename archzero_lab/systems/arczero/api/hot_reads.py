"""What requests in their usual bytes ask for: a cached card or list, told before anything is parsed.

What a client sends twice it sends in the same bytes. So a request's first line and its header lines are looked up
whole, each in a table of what they mean; what they mean was found out once, the slow way. A request that is not known
through and through (another method, a body, a header that changes how it is read, a piece of a request) is none of
these; uvicorn's parser reads it, and the application answers it in the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from archzero_lab.systems.arczero.api.positions import HEADER
from archzero_lab.systems.arczero.api.wire import (
    header_lines,
    is_strict,
)
from archzero_lab.systems.arczero.cache.cached_reads import Question
from archzero_lab.systems.arczero.cache.cached_service import CachedCardService

_REMEMBERED = 8_192
_MOST_REMEMBERED_BYTES = 1_024
"""Longer header lines are read each time: nobody may fill the table with more than a few megabytes."""
_MOST_HEADER_BYTES = 8_192
_GET, _VERSION, _END = b"GET ", b" HTTP/1.1", b"\r\n\r\n"
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?[ \t]*")
_TARGET = re.compile(rb"/[!$&'()*+,\-./0-9:;=?@A-Z_a-z~%]*")
_CHANGES_READING = frozenset(
    [
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"upgrade",
        b"te",
        b"trailer",
        b"http2-settings",
        b"proxy-connection",
    ]
)
_ONCE = frozenset([b"host", b"cache-control", b"if-none-match", b"connection"])


@dataclass(frozen=True, slots=True)
class Wishes:
    """What header lines ask for: a strict read, an answer only where it is none of these ETags."""

    strict: bool
    if_none_match: str | None


Asked = tuple[Question, Wishes]


class HotReads:
    """What is known of first lines and header lines, by a service's connections together.

    `cards` gives the cached service once it is open, None where it has no cache. `asks` says what a path and query
    string ask for, where the application has answered that before; `lets_in` whether a Host is one of ours.
    """

    def __init__(
        self,
        cards: Callable[[], CachedCardService | None],
        asks: Callable[[str, bytes], Any],
        lets_in: Callable[[bytes], bool],
        *,
        replicated: bool = False,
    ) -> None:
        self._open = cards
        self._cards: CachedCardService | None = None
        self._asks = asks
        self._lets_in = lets_in
        self.replicated = replicated
        """Whether a load may be a replica's: then a request that says what it must see goes the slow way."""
        self._questions: dict[bytes, Question] = {}
        self._wishes: dict[bytes, Wishes | None] = {}
        self._dated: tuple[object, bytes] = (None, b"")

    @property
    def cards(self) -> CachedCardService | None:
        """The cached service, where there is one."""
        if self._cards is None:
            self._cards = self._open()
        return self._cards

    def read_request(self, data: bytes) -> Asked | None:
        """What a whole request asks for; None where it is not whole, more than one, or not known."""
        if not (data.startswith(_GET) and data.endswith(_END)) or len(data) > _MOST_HEADER_BYTES:
            return None
        line_end = data.find(b"\r\n")
        if data.find(_END) != len(data) - 4 or line_end == len(data) - 4 or data[line_end - 9 : line_end] != _VERSION:
            return None
        wishes = self.wishes(data[line_end + 2 : -4])
        if wishes is None:
            return None
        question = self.question(data[4 : line_end - 9])
        return None if question is None else (question, wishes)

    def question(self, target: bytes) -> Question | None:
        """What a request target asks for; None where only the application knows."""
        known = self._questions.get(target)
        if known is not None:
            return known
        path, _, query = target.partition(b"?")
        if _TARGET.fullmatch(target) is None or b"%" in path:
            return None
        wanted = self._asks(path.decode("ascii"), query)
        cards = self.cards
        if wanted is None or cards is None:
            return None
        if len(self._questions) >= _REMEMBERED:
            self._questions.clear()
        self._questions[target] = known = cards.question(wanted)
        return known

    def wishes(self, lines: bytes) -> Wishes | None:
        """What header lines ask for; None where they may ask for more than is known here."""
        try:
            return self._wishes[lines]
        except KeyError:
            pass
        known = self._read(lines)
        if len(lines) <= _MOST_REMEMBERED_BYTES:
            if len(self._wishes) >= _REMEMBERED:
                self._wishes.clear()
            self._wishes[lines] = known
        return known

    def _read(self, lines: bytes) -> Wishes | None:
        headers: dict[bytes, bytes] = {}
        for line in lines.split(b"\r\n"):
            match = _LINE.fullmatch(line)
            if match is None:
                return None
            name, value = match[1].lower(), match[2] or b""
            if name in _CHANGES_READING or name == HEADER or (name in _ONCE and name in headers):
                return None
            headers[name] = value
        if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive" or not self._lets_in(
            headers.get(b"host", b"")
        ):
            return None
        control, etags = headers.get(b"cache-control"), headers.get(b"if-none-match")
        return Wishes(
            is_strict(control.decode("ascii") if control is not None else None),
            etags.decode("ascii") if etags is not None else None,
        )

    def ok(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The first line of an answer and the headers that the server adds to each; the date is of this second."""
        of, text = self._dated
        if of is not default_headers:
            text = STATUS_LINE[200] + header_lines(default_headers)
            self._dated = (default_headers, text)
        return text
