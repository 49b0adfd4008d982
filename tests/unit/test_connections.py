"""A connection answers hot reads itself, in their order, hands the rest on, and ends what keeps it waiting."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from archzero_lab.systems.arczero.api import connections
from archzero_lab.systems.arczero.api.connections import Connection
from archzero_lab.systems.arczero.api.doorkeeper import Doorkeeper
from archzero_lab.systems.arczero.api.hot_reads import HotReads
from archzero_lab.systems.arczero.cards.model import Document, NotFound

CARD = uuid.UUID(int=7)
DOCUMENT = Document(b'{"id":7}', "7.1", 7)
HOST = b"Host: localhost:3000"
ASKED = b"GET /api/v1/cards/%s HTTP/1.1\r\n" % str(CARD).encode()


class _Transport(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.reading = True
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent += data

    def writelines(self, list_of_data: Any) -> None:
        self.sent += b"".join(list_of_data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class _Cards:
    """A cached service whose near cache is empty and whose Redis answers when it is told to."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def question(self, asked: object) -> object:
        return asked

    def near(self, question: object) -> None:
        return None

    def read_for(self, question: object, reader: Any) -> None:
        self.readers.append(reader)

    def hit(self, question: object, found: Any) -> Document | None:
        return found if isinstance(found, Document) else None

    async def finish(self, question: object, found: Any) -> Document:
        raise NotFound(f"no card with id {question}")


class _App:
    """The application behind: it says that it was asked."""

    def __init__(self, cards: _Cards, *, reads_body: bool) -> None:
        self._reads_body = reads_body

        def asks(path: str, query: bytes) -> str | None:
            return path if path.startswith("/api/v1/cards/") and not query else None

        self.hot_reads = HotReads(lambda: cards, asks, Doorkeeper(None).lets_in)  # type: ignore[arg-type,return-value]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while self._reads_body and (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"behind"})


def _opened(*, reads_body: bool = False) -> tuple[_Cards, Connection, _Transport]:
    cards = _Cards()
    config = Config(_App(cards, reads_body=reads_body), interface="asgi3", proxy_headers=False, log_config=None)
    config.load()
    connection, transport = Connection(config, ServerState(), {}, asyncio.get_running_loop()), _Transport()
    connection.connection_made(transport)
    return cards, connection, transport


REQUEST = ASKED + HOST + b"\r\n\r\n"


async def test_an_answer_goes_out_as_soon_as_it_is_read() -> None:
    cards, connection, transport = _opened()
    connection.data_received(REQUEST)
    assert transport.sent == b""
    cards.readers.pop().set_result(DOCUMENT)
    head, _, body = transport.sent.partition(b"\r\n\r\n")
    assert head.splitlines() == [
        b"HTTP/1.1 200 OK", b"content-type: application/json", b'etag: "7.1"', b"content-length: 8",
    ]  # fmt: skip
    assert body == DOCUMENT.body


async def test_what_comes_before_the_answer_waits_and_is_answered_after_it() -> None:
    cards, connection, transport = _opened()
    connection.data_received(REQUEST)
    connection.data_received(b"GET /other HTTP/1.1\r\n")
    connection.data_received(HOST + b"\r\n\r\n" + REQUEST)
    assert not transport.reading
    assert len(cards.readers) == 1
    cards.readers.pop().set_result(DOCUMENT)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert transport.reading
    assert transport.sent.count(b"HTTP/1.1 200 OK") == 3
    assert transport.sent.index(DOCUMENT.body) < transport.sent.index(b"behind")
    assert cards.readers == [], "what came with another request in one piece is the parser's"


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST[:-2],
        REQUEST.replace(b"GET", b"HEAD"),
        REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"),
        REQUEST.replace(str(CARD).encode(), b"%41"),
        REQUEST[:-2] + b"Content-Length: 0\r\n\r\n",
        REQUEST[:-2] + b"Connection: close\r\n\r\n",
        REQUEST.replace(b"localhost", b"evil.example"),
        REQUEST + REQUEST,
        b"\r\n" + REQUEST,
    ],
)
async def test_what_is_not_known_through_and_through_goes_to_the_application(request_: bytes) -> None:
    cards, connection, transport = _opened()
    connection.data_received(request_)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert cards.readers == []
    assert (b"content-length: 6" in transport.sent) is (request_ != REQUEST[:-2])


async def test_a_request_in_pieces_is_read_by_the_parser_and_the_next_one_is_hot_again() -> None:
    cards, connection, transport = _opened()
    for piece in (REQUEST[:30], REQUEST[30:]):
        connection.data_received(piece)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert b"behind" in transport.sent
    connection.data_received(REQUEST)
    assert len(cards.readers) == 1


async def test_who_has_gone_is_answered_no_more_and_a_server_that_ends_answers_first() -> None:
    cards, connection, transport = _opened()
    connection.data_received(REQUEST)
    reader = cards.readers.pop()
    connection.connection_lost(None)
    assert reader.done()
    cards, connection, transport = _opened()
    connection.data_received(REQUEST)
    connection.shutdown()
    assert not transport.closed
    cards.readers.pop().set_result(DOCUMENT)
    assert transport.closed
    assert DOCUMENT.body in transport.sent


async def test_what_is_not_there_is_told_in_the_contracts_form() -> None:
    cards, connection, transport = _opened()
    connection.data_received(REQUEST)
    cards.readers.pop().set_result(None)
    await asyncio.sleep(0)
    assert transport.sent.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b'"code":"not_found"' in transport.sent


async def test_a_silent_connection_is_closed_and_one_that_waits_is_not() -> None:
    cards, connection, transport = _opened()
    connection._since -= 1_000
    connection.data_received(REQUEST)
    connection._since -= 1_000
    connection._look()
    assert not transport.closed
    cards.readers.pop().set_result(DOCUMENT)
    connection._look()
    assert not transport.closed
    connection._since -= 1_000
    connection._look()
    assert transport.closed


POST = b"POST /api/v1/cards HTTP/1.1\r\n" + HOST + b"\r\nContent-Length: 9\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([ASKED, b"X-Slow: a"], b"408"),
        ([POST, b"1234"], b"408"),
        ([ASKED + b"X-Long: " + b"a" * 40_000, b"a" * 40_000], b"431"),
    ],
)
async def test_who_does_not_come_to_the_end_of_a_request_is_told_so_and_let_go(
    pieces: list[bytes], status: bytes
) -> None:
    _, connection, transport = _opened(reads_body=True)
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)
    connection._since -= 20
    connection._look()
    connection._since -= 60
    connection._look()
    assert transport.sent.startswith(b"HTTP/1.1 " + status)
    assert transport.sent.count(b"HTTP/1.1") == 1
    assert transport.closed


async def test_a_large_body_that_comes_steadily_has_its_time() -> None:
    _, connection, transport = _opened(reads_body=True)
    connection.data_received(POST.replace(b"Content-Length: 9", b"Content-Length: 9000000"))
    for _ in range(20):
        connection.data_received(b"x" * 100_000)
        await asyncio.sleep(0)
    connection._since -= 100
    connection._look()
    assert not transport.closed
    connection._since -= 100
    connection._look()
    assert transport.sent.startswith(b"HTTP/1.1 408")


async def test_what_is_no_http_is_told_so_in_the_contracts_form() -> None:
    _, connection, transport = _opened()
    connection.data_received(b"nonsense\r\n\r\n")
    assert transport.sent.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close\r\n" in transport.sent
    assert b'"code":"bad_request"' in transport.sent
    assert transport.closed


async def test_headers_that_trickle_have_no_more_time_than_those_that_stop() -> None:
    _, connection, transport = _opened()
    connection.data_received(ASKED)
    connection._since -= 20
    connection.data_received(b"X-Slow: a")
    connection._look()
    assert transport.sent.startswith(b"HTTP/1.1 408")


async def test_who_does_not_take_its_answer_is_let_go() -> None:
    _, connection, transport = _opened()
    connection.pause_writing()
    connection._look()
    assert not transport.closed
    connection._since -= 60
    connection._look()
    assert transport.closed


async def test_one_address_takes_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "most_of_a_client", lambda: 2)
    monkeypatch.setattr(Connection, "_by_client", Counter())
    opened = [_opened() for _ in range(3)]
    assert [transport.closed for _, _, transport in opened] == [False, False, True]
    assert opened[2][2].sent.startswith(b"HTTP/1.1 503")
    for _, connection, _ in opened:
        connection.connection_lost(None)
    assert not _opened()[2].closed
