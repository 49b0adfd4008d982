"""A client's connection: uvicorn's, with a way around its parser for hot reads, and an end for who keeps it waiting."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from archzero_lab.postgres.fair_turns import CLIENT
from archzero_lab.postgres.positions import SESSION, Session
from archzero_lab.systems.arczero.api.hot_reads import Asked, HotReads, Wishes
from archzero_lab.systems.arczero.api.positions import header_of
from archzero_lab.systems.arczero.api.wire import (
    Answer,
    header_lines,
    matches,
    of_document,
    of_error,
    of_exception,
    ok_lines,
)
from archzero_lab.systems.arczero.cache.batched_reads import Found
from archzero_lab.systems.arczero.cache.cached_reads import Question
from archzero_lab.systems.arczero.cache.cached_service import CachedCardService
from archzero_lab.systems.arczero.cards.model import Document
from archzero_lab.systems.arczero.cards.request_context import STRICT

IDLE_S = 75
"""A connection on which nothing was asked for so long is closed; longer than most clients keep theirs."""
HEAD_S = 15
"""From the first byte of a request to the end of its headers, however they trickle in."""
BODY_S = 60
"""From there to the end of its body, and for a client to take a piece of an answer that the socket has no room for."""
LEAST_BYTES_S = 16_384
"""A body that comes at this pace has more time, for as long as it does."""
MOST_HEAD_BYTES = 65_536
_LOOK_S = 5.0
_MOST = 8_192


def most_of_a_client() -> int:
    """Connections that one address may have open here: half of what the process may, so that others can still come."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST if limit == resource.RLIM_INFINITY else min(_MOST, limit // 2)


class Connection(HttpToolsProtocol):
    """One connection. It is the reader of its own hot read: one at a time, what comes meanwhile waits."""

    _by_client: ClassVar[Counter[str]] = Counter()

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._hot: HotReads | None = getattr(config.loaded_app, "hot_reads", None)
        self._asked: Asked | None = None
        self._in_message = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._held = b""
        self._ending = False
        self._since = 0.0
        """When it became what it is now: idle, in the midst of headers or of a body, or stuck in an answer."""
        self._watch: asyncio.TimerHandle | None = None
        self._messages = 0
        self._unsent = 0
        """Bytes of an answer that the client had not taken when it was looked at last."""

    # -- what comes ----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """As uvicorn does, unless this client has too many, and begin to watch."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._watch = self.loop.call_later(_LOOK_S, self._look)
        self._by_client[self._address] += 1
        if self._by_client[self._address] > most_of_a_client():
            full = of_error(503, "unavailable", "too many connections from this address; close some")
            self._send(full, last=True)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn does; nobody waits any more."""
        self._asked = None
        self._held = b""
        if self._watch is not None:
            self._watch.cancel()
        self._by_client[self._address] -= 1
        if self._by_client[self._address] <= 0:
            del self._by_client[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer a hot read, or hand on."""
        if self._asked is not None:  # the answer before comes first
            self._held += data
            self.transport.pause_reading()
            return
        hot = self._hot
        request = hot.read_request(data) if hot is not None and not self._in_message and self._is_between() else None
        if request is None or hot is None:
            self._parse(data)
            return
        self._since = self.loop.time()
        self._unset_keepalive_if_required()
        cards: Any = hot.cards
        question, wishes = request
        document = None if wishes.strict else cards.near(question)
        if document is not None:
            self._send_document(document, wishes)
            return
        self._asked = request
        cards.read_for(question, self)

    def on_message_begin(self) -> None:
        """The parser is in the midst of a request."""
        self._in_message, self._head_bytes, self._since = True, 0, self.loop.time()
        self._messages += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The headers are there; a body may follow."""
        self._head_bytes, self._body_bytes, self._since = -1, 0, self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body has come."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The parser is between two requests."""
        self._in_message, self._since = False, self.loop.time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn does; it is idle from now on."""
        self._since = self.loop.time()
        super().on_response_complete()

    def _parse(self, data: bytes) -> None:
        before = self._messages if self._in_message else 0
        super().data_received(data)
        if self._in_message and self._head_bytes >= 0 and before == self._messages:  # else it may be another's
            self._head_bytes += len(data)
            if self._head_bytes <= MOST_HEAD_BYTES:
                return
            if self._is_between():
                self._refuse(431, "too_large", f"the request's headers are longer than {MOST_HEAD_BYTES} bytes")
            else:
                self.flow.pause_reading()  # until the answer before is out

    def _is_between(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    # -- the reader of a read ------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether the client has gone."""
        return self._asked is None

    def set_result(self, entry: Found) -> None:
        """Answer with what was found, or see to it that it is loaded."""
        assert self._asked is not None
        assert self._hot is not None
        question, wishes = self._asked
        cards: Any = self._hot.cards
        document = cards.hit(question, entry)
        if document is not None:
            self._asked = None
            self._send_document(document, wishes)
            self._go_on()
            return
        task = self.loop.create_task(self._finish(cards, question, wishes, entry))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _finish(self, cards: CachedCardService, question: Question, wishes: Wishes, entry: Found) -> None:
        STRICT.set(wishes.strict)
        CLIENT.set(self._address)
        session = Session() if self._hot is not None and self._hot.replicated else None
        SESSION.set(session)
        try:
            answer = of_document(await cards.finish(question, entry), wishes.if_none_match)
        except Exception as error:  # asked once: whatever it is, the application would only meet it again
            answer = of_exception(error)
        except BaseException:  # it was cancelled: nobody will answer
            self._asked = None
            self.transport.close()
            raise
        if session is not None and session.seen is not None:
            answer = replace(answer, headers=(*answer.headers, header_of(session)))
        if self._asked is not None:
            self._asked = None
            self._send(answer)
            self._go_on()

    def _go_on(self) -> None:
        self._since = self.loop.time()
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

    def _send(self, answer: Answer, *, last: bool = False) -> None:
        end = ((b"connection", b"close"),) if last else ()
        headers = header_lines([*self.server_state.default_headers, *answer.sent_headers(), *end])
        self.transport.write(b"".join((STATUS_LINE[answer.status], headers, b"\r\n", answer.body)))

    # -- the end -------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """As uvicorn does; an answer that is on its way goes out first."""
        if self._asked is not None:
            self._ending = True
        else:
            super().shutdown()

    @property
    def _address(self) -> str:
        return self.client[0] if self.client is not None else ""

    def _look(self) -> None:
        """End a connection that keeps us waiting; one that waits for us is none."""
        if self.transport.is_closing():
            return
        self._watch = self.loop.call_later(_LOOK_S, self._look)
        waited_s = self.loop.time() - self._since
        if self.flow.write_paused:
            unsent = self.transport.get_write_buffer_size()
            if unsent < self._unsent:
                self._since = self.loop.time()  # it takes its answer, if slowly
            elif waited_s >= BODY_S:
                self.transport.abort()  # what it has not taken it will not take
            self._unsent = unsent
        elif self.flow.read_paused:
            self._since = self.loop.time()  # it is we who do not read
        elif self._in_message and self._head_bytes >= 0:
            if waited_s >= HEAD_S and self._is_between():
                self._refuse(408, "timeout", f"the request's headers did not come within {HEAD_S} s")
        elif self._in_message:
            if not self.pipeline and waited_s >= BODY_S + self._body_bytes / LEAST_BYTES_S:
                self._refuse(408, "timeout", f"the request's body did not come within {BODY_S} s")
        elif self._asked is None and self._is_between() and waited_s >= IDLE_S:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not take its answer."""
        self._since, self._unsent = self.loop.time(), self.transport.get_write_buffer_size()
        super().pause_writing()

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer what is not a whole request, where nothing has been answered to it yet, and end the connection."""
        in_head = self._head_bytes >= 0
        if self._is_between() if in_head else not self.cycle.response_started:
            self._send(of_error(status, code, message), last=True)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What the parser cannot read, in the contract's form; where an answer is on its way, that is the last one."""
        if not self._is_between():
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        self._send(of_error(400, "bad_request", "this is no HTTP request that could be read"), last=True)
        self.transport.close()
