"""Answers: stored JSON bytes to the socket as they are, with their ETag; and the shapes the OpenAPI page tells."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import msgspec
from litestar import Response
from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec

from archzero_lab.systems.arczero.api.wire import Answer, of_document
from archzero_lab.systems.arczero.cards.model import CardStatus, CardType, Document, LifecyclePhase, RelationshipType


def document_response(document: Document, if_none_match: str | None = None, status: int = 200) -> Response[bytes]:
    """The document with its ETag, or 304 where the client has it already."""
    return as_response(of_document(document, if_none_match, status))


def as_response(answer: Answer) -> Response[bytes]:
    """An answer as the framework sends it."""
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    media_type = headers.pop("content-type", None)
    return Response(answer.body, status_code=answer.status, media_type=media_type, headers=headers)


class CardView(msgspec.Struct, rename="camel"):
    """A card as it is answered."""

    id: uuid.UUID
    name: str
    type: CardType
    lifecycle_phase: LifecyclePhase
    quality_score: int
    description: str
    owner_id: uuid.UUID | None
    created_at: dt.datetime
    updated_at: dt.datetime
    attributes: dict[str, Any]
    tags: list[str]
    status: CardStatus
    version: int


class CardPageView(msgspec.Struct):
    """A page of cards as it is answered."""

    data: list[CardView]
    total: int
    page: int
    page_size: int
    total_relation: str = msgspec.field(name="totalRelation")
    next_cursor: str | None = msgspec.field(name="nextCursor", default=None)


class RelationshipView(msgspec.Struct, rename="camel"):
    """A relationship as it is answered."""

    id: uuid.UUID
    from_card_id: uuid.UUID
    to_card_id: uuid.UUID
    relationship_type: RelationshipType
    valid_from: dt.date | None
    valid_to: dt.date | None
    attributes: dict[str, Any]
    confidence: float
    created_at: dt.datetime


class RelationshipPageView(msgspec.Struct):
    """A page of relationships as it is answered."""

    data: list[RelationshipView]
    total: int
    page: int
    page_size: int
    total_relation: str = msgspec.field(name="totalRelation")


class ErrorBody(msgspec.Struct):
    """What went wrong."""

    code: str
    message: str
    field: str | None = None
    details: Any = None


class ErrorView(msgspec.Struct):
    """Every error is answered so."""

    error: ErrorBody


def responses_of(shape: Any, *statuses: int, ok: int = 200) -> dict[int, ResponseSpec]:
    """The OpenAPI responses of a handler: `shape` on success, errors in their one form."""
    success = ResponseSpec(shape, description="success", media_type="application/json", generate_examples=False)
    errors = {
        status: ResponseSpec(ErrorView, description="error", media_type="application/json", generate_examples=False)
        for status in (400, 503, *statuses)
    }
    return {ok: success, **errors}


ETAG = ResponseHeader(name="ETag", description="version of the document", documentation_only=True)
