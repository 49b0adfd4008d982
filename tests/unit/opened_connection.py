"""A connection of the service on a transport that keeps what is written, and an application behind it."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from archzero_lab.systems.arczero.api.connections import Connection
from archzero_lab.systems.arczero.api.doorkeeper import Doorkeeper
from archzero_lab.systems.arczero.api.hot_reads import HotReads
from archzero_lab.systems.arczero.cards.model import Document, NotFound

CARD = uuid.UUID(int=7)
DOCUMENT = Document(b'{"id":7}', "7.1", 7)
HOST = b"Host: localhost:3000"
ASKED = b"GET /api/v1/cards/%s HTTP/1.1\r\n" % str(CARD).encode()


class FakeTransport(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.reading = True
        self.closed = False
        self.buffered = 1_000

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

    def get_write_buffer_size(self) -> int:
        return self.buffered


class FakeCards:
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


class FakeApp:
    """The application behind: it says that it was asked."""

    def __init__(self, cards: FakeCards, *, reads_body: bool, waits: bool) -> None:
        self._reads_body = reads_body
        self._waits = waits

        def asks(path: str, query: bytes) -> str | None:
            return path if path.startswith("/api/v1/cards/") and not query else None

        self.hot_reads = HotReads(lambda: cards, asks, Doorkeeper(None).lets_in)  # type: ignore[arg-type,return-value]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._waits:
            await asyncio.Event().wait()
        while self._reads_body and (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"behind"})


def opened(*, reads_body: bool = False, waits: bool = False) -> tuple[FakeCards, Connection, FakeTransport]:
    cards = FakeCards()
    config = Config(
        FakeApp(cards, reads_body=reads_body, waits=waits), interface="asgi3", proxy_headers=False, log_config=None
    )
    config.load()
    connection, transport = Connection(config, ServerState(), {}, asyncio.get_running_loop()), FakeTransport()
    connection.connection_made(transport)
    return cards, connection, transport


REQUEST = ASKED + HOST + b"\r\n\r\n"
