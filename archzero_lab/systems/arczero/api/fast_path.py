"""The hot reads in front of the framework: a card by its id, a list or search asked for before.

Routing, parameter parsing and response building cost more than a hit in Redis does (benchmarks/cached_reads.py). What
is asked for here is answered here, errors included, in the same form; everything else goes on to the application.
"""

from __future__ import annotations

import uuid
from typing import Any

from cachetools import LRUCache
from litestar import Litestar
from litestar.types import Scope

from archzero_lab.systems.arczero.api.unknown_parameters import ignored
from archzero_lab.systems.arczero.api.wire import Answer, is_strict, of_document, of_exception, send_answer
from archzero_lab.systems.arczero.cards.model import CardFilter
from archzero_lab.systems.arczero.cards.request_context import STRICT

_CARD = "/api/v1/cards/"
_CARD_LENGTH = len(_CARD) + 36
_REMEMBERED = 4_096
_MOST_REMEMBERED_BYTES = 1_024
"""Longer query strings are parsed each time: remembered, they would take hundreds of megabytes."""

Questions = LRUCache[tuple[str, bytes], CardFilter]


class FastPath:
    """An ASGI application around a Litestar one. `app.state.questions` is where handlers remember what they parsed."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._questions: Questions = LRUCache(_REMEMBERED)
        app.state.questions = self._questions

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a hot read, or hand on."""
        hot = scope["type"] == "http" and scope["method"] == "GET"
        question = self.asks(scope["path"], scope["query_string"]) if hot else None
        if question is None:
            await self._app(scope, receive, send)
            return
        await send_answer(await self._answer(question, scope), send)

    def asks(self, path: str, query: bytes) -> uuid.UUID | CardFilter | None:
        """What a path and query string ask for, where that can be told without the framework."""
        if len(path) == _CARD_LENGTH and path.startswith(_CARD) and not query:
            try:
                return uuid.UUID(path[len(_CARD) :])
            except ValueError:
                return None
        return self._questions.get((path, query))

    async def _answer(self, question: uuid.UUID | CardFilter, scope: Any) -> Answer:
        STRICT.set(is_strict(_header(scope, b"cache-control")))
        cards = self._app.state.service.cards
        try:
            reading = cards.card(question) if isinstance(question, uuid.UUID) else cards.cards(question)
            return of_document(await reading, _header(scope, b"if-none-match"))
        except Exception as error:  # asked once: whatever it is, the application would only meet it again
            return of_exception(error)


def remember(scope: Scope, question: CardFilter) -> None:
    """Told by a handler that has answered: this path and query string ask this question."""
    questions: Questions | None = scope["litestar_app"].state.get("questions")
    if questions is not None and len(scope["query_string"]) <= _MOST_REMEMBERED_BYTES and not ignored(scope):
        questions[scope["path"], scope["query_string"]] = question


def _header(scope: Any, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None
