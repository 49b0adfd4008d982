"""Hot reads on the connection itself: a cached card or list is answered before anything is parsed.

What a client sends twice it sends in the same bytes. So a request's first line and its header lines are looked up
whole, each in a table of what they mean; what they mean was found out once, the slow way. A request that is not known
through and through (another method, a body, a header that changes how it is read, a piece of a request) goes on to
uvicorn's parser and the application, and is answered there in the same bytes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from archzero_lab.systems.arczero.api.wire import (
    Answer,
    header_lines,
    is_strict,
    matches,
    of_document,
    of_exception,
    ok_lines,
)
from archzero_lab.systems.arczero.cache.batched_reads import Found
from archzero_lab.systems.arczero.cache.cached_reads import Question
from archzero_lab.systems.arczero.cache.cached_service import CachedCardService
from archzero_lab.systems.arczero.cards.model import Document
from archzero_lab.systems.arczero.cards.request_context import STRICT

_REMEMBERED = 8_192
_MOST_HEADER_BYTES = 8_192
_IDLE_S = 75.0
_GET, _VERSION, _END = b"GET ", b" HTTP/1.1", b"\r\n\r\n"
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?[ \t]*")
_TARGET = re.compile(rb"/[!$&'()*+,\-./0-9:;=?@A-Z_a-z~%]*")
_CHANGES_READING = frozenset(
    [b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"http2-settings"]
)
_ONCE = frozenset([b"host", b"cache-control", b"if-none-match", b"connection"])


@dataclass(frozen=True, slots=True)
class Wishes:
    """What header lines ask for: a strict read, an answer only where it is none of these ETags."""

    strict: bool
    if_none_match: str | None


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
    ) -> None:
        self._open = cards
        self._cards: CachedCardService | None = None
        self._asks = asks
        self._lets_in = lets_in
        self._questions: dict[bytes, Question] = {}
        self._wishes: dict[bytes, Wishes | None] = {}
        self._dated: tuple[object, bytes] = (None, b"")

    @property
    def cards(self) -> CachedCardService | None:
        """The cached service, where there is one."""
        if self._cards is None:
            self._cards = self._open()
        return self._cards

    def question(self, target: bytes) -> Question | None:
        """What a request target asks for; None where only the application knows."""
        found = self._questions.get(target)
        if found is not None:
            return found
        path, _, query = target.partition(b"?")
        if _TARGET.fullmatch(target) is None or b"%" in path:
            return None
        asked = self._asks(path.decode("ascii"), query)
        cards = self.cards
        if asked is None or cards is None:
            return None
        if len(self._questions) >= _REMEMBERED:
            self._questions.clear()
        self._questions[target] = found = cards.question(asked)
        return found

    def wishes(self, lines: bytes) -> Wishes | None:
        """What header lines ask for; None where they may ask for more than is known here."""
        try:
            return self._wishes[lines]
        except KeyError:
            pass
        found = self._read(lines)
        if len(self._wishes) >= _REMEMBERED:
            self._wishes.clear()
        self._wishes[lines] = found
        return found

    def _read(self, lines: bytes) -> Wishes | None:
        told: dict[bytes, bytes] = {}
        for line in lines.split(b"\r\n"):
            match = _LINE.fullmatch(line)
            if match is None:
                return None
            name, value = match[1].lower(), match[2] or b""
            if name in _CHANGES_READING or (name in _ONCE and name in told):
                return None
            told[name] = value
        if told.get(b"connection", b"keep-alive").lower() != b"keep-alive" or not self._lets_in(told.get(b"host", b"")):
            return None
        control, etags = told.get(b"cache-control"), told.get(b"if-none-match")
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


class HotConnection(HttpToolsProtocol):
    """uvicorn's connection, with a way around the parser. It is the reader of its own read: one at a time.

    A connection on which nothing was asked for a while is closed, whether it ever was or not.
    """

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._hot: HotReads | None = getattr(config.loaded_app, "hot_reads", None)
        self._asked: tuple[Question, Wishes] | None = None
        self._in_message = False
        self._held = b""
        self._ending = False
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None

    # -- what comes ----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """As uvicorn does, and begin to watch for silence."""
        super().connection_made(transport)
        self._heard = self.loop.time()
        self._watch = self.loop.call_later(_IDLE_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn does; nobody waits any more."""
        self._asked = None
        self._held = b""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer a hot read, or hand on."""
        self._heard = self.loop.time()
        if self._asked is not None:  # the answer before comes first
            self._held += data
            self.transport.pause_reading()
            return
        if self._hot is None or self._in_message or not self._between():
            super().data_received(data)
            return
        found = self._known(data)
        if found is None:
            super().data_received(data)
            return
        self._unset_keepalive_if_required()
        cards: Any = self._hot.cards
        question, wishes = found
        document = None if wishes.strict else cards.near(question)
        if document is not None:
            self._send_document(document, wishes)
            return
        self._asked = found
        cards.read_for(question, self)

    def on_message_begin(self) -> None:
        """The parser is in the midst of a request."""
        self._in_message = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """The parser is between two."""
        self._in_message = False
        super().on_message_complete()

    def _between(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _known(self, data: bytes) -> tuple[Question, Wishes] | None:
        if not (data.startswith(_GET) and data.endswith(_END)) or len(data) > _MOST_HEADER_BYTES:
            return None
        line_end = data.find(b"\r\n")
        if data.find(_END) != len(data) - 4 or line_end == len(data) - 4 or data[line_end - 9 : line_end] != _VERSION:
            return None
        hot: Any = self._hot
        wishes = hot.wishes(data[line_end + 2 : -4])
        if wishes is None:
            return None
        question = hot.question(data[4 : line_end - 9])
        return None if question is None else (question, wishes)

    # -- the reader of a read ------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether the client has gone."""
        return self._asked is None

    def set_result(self, found: Found) -> None:
        """Answer with what was found, or see to it that it is loaded."""
        assert self._asked is not None
        assert self._hot is not None
        question, wishes = self._asked
        cards: Any = self._hot.cards
        document = cards.hit(question, found)
        if document is not None:
            self._asked = None
            self._send_document(document, wishes)
            self._go_on()
            return
        task = self.loop.create_task(self._finish(cards, question, wishes, found))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _finish(self, cards: CachedCardService, question: Question, wishes: Wishes, found: Found) -> None:
        STRICT.set(wishes.strict)
        try:
            answer = of_document(await cards.finish(question, found), wishes.if_none_match)
        except Exception as error:  # asked once: whatever it is, the application would only meet it again
            answer = of_exception(error)
        if self._asked is not None:
            self._asked = None
            self._send(answer)
            self._go_on()

    def _go_on(self) -> None:
        self.server_state.total_requests += 1
        if self._ending:
            self.transport.close()
        elif self._held:
            held, self._held = self._held, b""
            self.transport.resume_reading()
            self.data_received(held)

    # -- what goes -----------------------------------------------------------------------------------------

    def _send_document(self, document: Document, wishes: Wishes) -> None:
        if wishes.if_none_match is not None and matches(wishes.if_none_match, document.etag):
            self._send(of_document(document, wishes.if_none_match))
            return
        assert self._hot is not None
        self.transport.writelines((self._hot.ok(self.server_state.default_headers), ok_lines(document), document.body))

    def _send(self, answer: Answer) -> None:
        headers = header_lines([*self.server_state.default_headers, *answer.sent_headers()])
        self.transport.write(b"".join((STATUS_LINE[answer.status], headers, b"\r\n", answer.body)))

    # -- the end -------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """As uvicorn does; an answer that is on its way goes out first."""
        if self._asked is not None:
            self._ending = True
        else:
            super().shutdown()

    def _look(self) -> None:
        """Close a connection that says nothing; one that waits for an answer is none."""
        silent_s = self.loop.time() - self._heard
        if self._asked is None and (self.cycle is None or self.cycle.response_complete) and silent_s >= _IDLE_S:
            self.transport.close()
            return
        self._watch = self.loop.call_later(max(1.0, _IDLE_S - silent_s), self._look)
