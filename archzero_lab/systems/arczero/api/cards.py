"""/api/v1/cards and /api/v1/search."""

from __future__ import annotations

from litestar import Response, Router, delete, get, post, put
from litestar.params import FromPath, JSONBody
from litestar.types import Scope

from archzero_lab.systems.arczero.api import parameters as p
from archzero_lab.systems.arczero.api.answers import ETAG, CardPageView, CardView, document_response, responses_of
from archzero_lab.systems.arczero.api.errors import BadParameter
from archzero_lab.systems.arczero.api.fast_path import remember
from archzero_lab.systems.arczero.api.service import GivenCards
from archzero_lab.systems.arczero.cards.model import CardDraft, CardPatch


@get("/cards", responses=responses_of(CardPageView), response_headers=[ETAG])
async def list_cards(
    cards: GivenCards,
    scope: Scope,
    q: p.Search = "",
    type_: p.TypeParameter = None,
    phase: p.Phase = None,
    status: p.Status = None,
    owner: p.Owner = None,
    min_quality: p.Quality = None,
    tags: p.TagsParameter = None,
    attributes: p.Attributes = None,
    page: p.Page = 1,
    page_size: p.PageSize = 20,
    cursor: p.CursorParameter = None,
    if_none_match: p.IfNoneMatch = None,
) -> Response[bytes]:
    """A page of cards, newest first."""
    question = p.card_filter(
        q=q,
        type_=type_,
        phase=phase,
        status=status,
        owner=owner,
        min_quality=min_quality,
        tags=tags,
        attributes=attributes,
        page=page,
        page_size=page_size,
        cursor=cursor,
    )
    document = await cards.cards(question)
    remember(scope, question)
    return document_response(document, if_none_match)


@get("/search", responses=responses_of(CardPageView), response_headers=[ETAG])
async def search_cards(
    cards: GivenCards,
    scope: Scope,
    q: p.Search,
    page: p.Page = 1,
    page_size: p.PageSize = 20,
    cursor: p.CursorParameter = None,
    if_none_match: p.IfNoneMatch = None,
) -> Response[bytes]:
    """Cards whose name or description holds the text, newest first."""
    if not q:
        raise BadParameter("q", "give the text to search for")
    question = p.card_filter(q=q, page=page, page_size=page_size, cursor=cursor)
    document = await cards.cards(question)
    remember(scope, question)
    return document_response(document, if_none_match)


@get("/cards/{card_id:str}", responses=responses_of(CardView, 404), response_headers=[ETAG])
async def get_card(cards: GivenCards, card_id: FromPath[str], if_none_match: p.IfNoneMatch = None) -> Response[bytes]:
    """One card."""
    return document_response(await cards.card(p.identifier(card_id, "id")), if_none_match)


@post("/cards", responses=responses_of(CardView, 409, 422, ok=201), response_headers=[ETAG])
async def create_card(cards: GivenCards, data: JSONBody[CardDraft]) -> Response[bytes]:
    """Create a card."""
    card_id, document = await cards.create_card(data)
    response = document_response(document, status=201)
    response.headers["Location"] = f"/api/v1/cards/{card_id}"
    return response


@put("/cards/{card_id:str}", responses=responses_of(CardView, 404, 409, 412, 422), response_headers=[ETAG])
async def update_card(
    cards: GivenCards, card_id: FromPath[str], data: JSONBody[CardPatch], if_match: p.GivenIfMatch = None
) -> Response[bytes]:
    """Change the fields that the body names."""
    named = p.if_match(if_match)
    return document_response(await cards.update_card(p.identifier(card_id, "id"), data, named))


@delete("/cards/{card_id:str}", responses={k: v for k, v in responses_of(None, 404, 412, ok=204).items() if k != 204})
async def delete_card(cards: GivenCards, card_id: FromPath[str], if_match: p.GivenIfMatch = None) -> None:
    """Delete a card and its relationships."""
    await cards.delete_card(p.identifier(card_id, "id"), p.if_match(if_match))


router = Router(
    path="/api/v1",
    route_handlers=[list_cards, search_cards, get_card, create_card, update_card, delete_card],
    tags=["cards"],
)
