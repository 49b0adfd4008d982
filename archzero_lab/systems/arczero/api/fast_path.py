"""The hot reads in front of the framework: a card by its id, a list or search asked for before, straight to the socket.

Routing, parameter parsing and response building cost more than a hit in Redis does (benchmarks/cached_reads.py). What
this does not know how to answer, errors included, goes on to the application unchanged.
"""

from __future__ import annotations

import uuid
from typing import Any

from cachetools import LRUCache
from litestar import Litestar
from litestar.types import Scope

from archzero_lab.systems.arczero.api.parameters import matches
from archzero_lab.systems.arczero.cards.model import CardFilter, CardsError, Document
from archzero_lab.systems.arczero.cards.request_context import STRICT

_CARD = "/api/v1/cards/"
_CARD_LENGTH = len(_CARD) + 36
_REMEMBERED = 4_096

Questions = LRUCache[tuple[str, bytes], CardFilter]


class FastPath:
    """An ASGI application around a Litestar one. `app.state.questions` is where handlers remember what they parsed."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._questions: Questions = LRUCache(_REMEMBERED)
        app.state.questions = self._questions

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a hot read, or hand on."""
        if scope["type"] == "http" and scope["method"] == "GET":
            document = await self._document(scope)
            if document is not None:
                await _send(document, scope, send)
                return
        await self._app(scope, receive, send)

    async def _document(self, scope: Any) -> Document | None:
        path: str = scope["path"]
        card_id = question = None
        if len(path) == _CARD_LENGTH and path.startswith(_CARD):
            try:
                card_id = uuid.UUID(path[len(_CARD) :])
            except ValueError:
                return None
        else:
            question = self._questions.get((path, scope["query_string"]))
            if question is None:
                return None
        STRICT.set(_header(scope, b"cache-control") == "no-cache")
        cards = self._app.state.service.cards
        try:
            if card_id is not None:
                return await cards.card(card_id)  # type: ignore[no-any-return]
            return await cards.cards(question)  # type: ignore[no-any-return]
        except CardsError:
            return None  # the application meets it again and says it in the contract's form


def remember(scope: Scope, question: CardFilter) -> None:
    """Told by a handler that has answered: this path and query string ask this question."""
    questions: Questions | None = scope["litestar_app"].state.get("questions")
    if questions is not None:
        questions[scope["path"], scope["query_string"]] = question


async def _send(document: Document, scope: Any, send: Any) -> None:
    etag = f'"{document.etag}"'.encode()
    if matches(_header(scope, b"if-none-match"), document.etag):
        await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", etag)]})
        await send({"type": "http.response.body", "body": b""})
        return
    headers = [
        (b"content-type", b"application/json"),
        (b"etag", etag),
        (b"content-length", str(len(document.body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": document.body})


def _header(scope: Any, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None
