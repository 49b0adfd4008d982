"""/api/v1/relationships."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from archzero_lab.systems.arczero.api import parameters as p
from archzero_lab.systems.arczero.api.answers import (
    ETAG,
    RelationshipPageView,
    RelationshipView,
    document_response,
    responses_of,
)
from archzero_lab.systems.arczero.api.service import GivenCards
from archzero_lab.systems.arczero.cards.model import (
    RelationshipDraft,
    RelationshipFilter,
    RelationshipPatch,
    RelationshipType,
)


@get("/relationships", responses=responses_of(RelationshipPageView), response_headers=[ETAG])
async def list_relationships(
    cards: GivenCards,
    card_id: Annotated[str | None, QueryParameter(name="card_id", description="a card at either end")] = None,
    relationship_type: Annotated[str | None, QueryParameter(name="relationshipType")] = None,
    page: p.Page = 1,
    page_size: p.PageSize = 20,
    if_none_match: p.IfNoneMatch = None,
) -> Response[bytes]:
    """A page of relationships, newest first."""
    question = RelationshipFilter(
        card_id=p.identifier(card_id, "card_id") if card_id else None,
        relationship_type=p.choice(RelationshipType, relationship_type, "relationshipType"),
        page=page,
        page_size=page_size,
    )
    return document_response(await cards.relationships(question), if_none_match)


@get("/relationships/{relationship_id:str}", responses=responses_of(RelationshipView, 404), response_headers=[ETAG])
async def get_relationship(
    cards: GivenCards, relationship_id: FromPath[str], if_none_match: p.IfNoneMatch = None
) -> Response[bytes]:
    """One relationship."""
    return document_response(await cards.relationship(p.identifier(relationship_id, "id")), if_none_match)


@post("/relationships", responses=responses_of(RelationshipView, 409, 422, ok=201), response_headers=[ETAG])
async def create_relationship(cards: GivenCards, data: JSONBody[RelationshipDraft]) -> Response[bytes]:
    """Create a relationship between two cards."""
    relationship_id, document = await cards.create_relationship(data)
    response = document_response(document, status=201)
    response.headers["Location"] = f"/api/v1/relationships/{relationship_id}"
    return response


@put(
    "/relationships/{relationship_id:str}",
    responses=responses_of(RelationshipView, 404, 412, 422),
    response_headers=[ETAG],
)
async def update_relationship(
    cards: GivenCards,
    relationship_id: FromPath[str],
    data: JSONBody[RelationshipPatch],
    if_match: p.GivenIfMatch = None,
) -> Response[bytes]:
    """Change the fields that the body names."""
    named = p.if_match(if_match)
    return document_response(await cards.update_relationship(p.identifier(relationship_id, "id"), data, named))


@delete(
    "/relationships/{relationship_id:str}",
    responses={k: v for k, v in responses_of(None, 404, 412, ok=204).items() if k != 204},
)
async def delete_relationship(
    cards: GivenCards, relationship_id: FromPath[str], if_match: p.GivenIfMatch = None
) -> None:
    """Delete a relationship."""
    await cards.delete_relationship(p.identifier(relationship_id, "id"), p.if_match(if_match))


router = Router(
    path="/api/v1",
    route_handlers=[
        list_relationships,
        get_relationship,
        create_relationship,
        update_relationship,
        delete_relationship,
    ],
    tags=["relationships"],
)
