"""Query parameters, path ids and precondition headers: text in, validated values out."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec
from litestar.params import HeaderParameter, QueryParameter

from archzero_lab.systems.arczero.api.errors import BadParameter
from archzero_lab.systems.arczero.cards.model import (
    MAX_PAGE,
    MAX_PAGE_SIZE,
    MAX_TAGS,
    CardFilter,
    CardStatus,
    CardType,
    Cursor,
    IfMatch,
    LifecyclePhase,
)
from archzero_lab.systems.arczero.cards.readings import composed, read_text

E = TypeVar("E", bound=StrEnum)

Page = Annotated[int, QueryParameter(name="page", ge=1, le=MAX_PAGE, description="page number, from 1")]
PageSize = Annotated[int, QueryParameter(name="pageSize", ge=1, le=MAX_PAGE_SIZE, description="cards a page")]
Search = Annotated[str, QueryParameter(name="q", max_length=200, description="text in the name or description")]
TypeParameter = Annotated[str | None, QueryParameter(name="type", description="one of the card types")]
Phase = Annotated[str | None, QueryParameter(name="lifecyclePhase", description="one of the lifecycle phases")]
Status = Annotated[str | None, QueryParameter(name="status", description="active (default), draft, …, or any")]
Owner = Annotated[str | None, QueryParameter(name="ownerId", description="id of the owner")]
Quality = Annotated[int | None, QueryParameter(name="minQuality", ge=0, le=100, description="least quality score")]
TagsParameter = Annotated[
    list[str] | None, QueryParameter(name="tags", description="any of these, repeated or separated by commas")
]
Attributes = Annotated[
    str | None, QueryParameter(name="attributes", max_length=2000, description="a JSON object that the card's contain")
]
CursorParameter = Annotated[
    str | None, QueryParameter(name="cursor", max_length=100, description="nextCursor of the page before")
]
IfNoneMatch = Annotated[str | None, HeaderParameter(name="If-None-Match", required=False)]
GivenIfMatch = Annotated[str | None, HeaderParameter(name="If-Match", required=False)]


def card_filter(
    *,
    q: str | None = None,
    type_: str | None = None,
    phase: str | None = None,
    status: str | None = None,
    owner: str | None = None,
    min_quality: int | None = None,
    tags: list[str] | None = None,
    attributes: str | None = None,
    page: int = 1,
    page_size: int = 20,
    cursor: str | None = None,
) -> CardFilter:
    """A CardFilter of what a client sent. Raises BadParameter."""
    return CardFilter(
        q=composed(q) if q else None,
        type=choice(CardType, type_, "type"),
        lifecycle_phase=choice(LifecyclePhase, phase, "lifecyclePhase"),
        status=None if status == "any" else choice(CardStatus, status or "active", "status"),
        owner_id=identifier(owner, "ownerId") if owner else None,
        min_quality=min_quality,
        tags=_tags(tags),
        attributes=_json_object(attributes) if attributes else None,
        page=1 if cursor else page,
        page_size=page_size,
        cursor=_cursor(cursor) if cursor else None,
    )


def identifier(text: str, field: str) -> uuid.UUID:
    """A UUID in any form that Python reads. Raises BadParameter."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise BadParameter(field, "not a UUID") from None


def choice(kind: type[E], text: str | None, field: str) -> E | None:
    """A member of an enumeration, or None where nothing was given. Raises BadParameter naming the members."""
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise BadParameter(field, f"unknown; known: {', '.join(kind)}") from None


def choices(kind: type[E], texts: list[str] | None, field: str) -> tuple[E, ...]:
    """Members of an enumeration, repeated or separated by commas, in canonical order."""
    chosen = {choice(kind, text, field) for text in split(texts)}
    return tuple(sorted(member for member in chosen if member is not None))


def split(texts: Iterable[str] | None) -> list[str]:
    """The parts of a parameter that may be repeated or separated by commas."""
    return [part.strip() for text in texts or () for part in text.split(",") if part.strip()]


def if_match(header: str | None) -> IfMatch:
    """The ETags that an If-Match lists; None for none or `*`. Weak ones match nothing (RFC 9110, 13.1.1)."""
    if header is None or header.strip() == "*":
        return None
    named = [part.strip() for part in header.split(",")]
    return [part.strip('"') for part in named if part and not part.startswith("W/")]


def _tags(texts: list[str] | None) -> tuple[str, ...]:
    """Tags as cards have them, each once. Raises BadParameter for more than any card may have."""
    tags = tuple(sorted({read_text(tag) for tag in split(texts)}))
    if len(tags) > MAX_TAGS:
        raise BadParameter("tags", f"{len(tags)} tags; at most {MAX_TAGS}")
    return tags


def _json_object(text: str) -> str:
    """Canonical JSON text, so that equal conditions share a cache entry. Raises BadParameter."""
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadParameter("attributes", f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadParameter("attributes", "not a JSON object")
    return msgspec.json.encode(value, order="deterministic").decode()


def _cursor(text: str) -> Cursor:
    try:
        return Cursor.decode(text)
    except ValueError as error:
        raise BadParameter("cursor", str(error)) from None
