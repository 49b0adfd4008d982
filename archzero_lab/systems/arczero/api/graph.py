"""/api/v1/graph."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, Router, get
from litestar.params import QueryParameter

from archzero_lab.systems.arczero.api import parameters as p
from archzero_lab.systems.arczero.api.answers import ETAG, document_response, responses_of
from archzero_lab.systems.arczero.api.service import GivenCards
from archzero_lab.systems.arczero.cards.model import CardType, GraphQuery, RelationshipType


@get("/graph", responses=responses_of(dict[str, Any], 404), response_headers=[ETAG])
async def get_graph(
    cards: GivenCards,
    center_card_id: Annotated[str, QueryParameter(name="center_card_id")],
    depth: Annotated[int, QueryParameter(name="depth", ge=1, le=5)] = 1,
    relationship_types: Annotated[list[str] | None, QueryParameter(name="relationship_types")] = None,
    card_types: Annotated[list[str] | None, QueryParameter(name="card_types")] = None,
    min_confidence: Annotated[float, QueryParameter(name="min_confidence", ge=0, le=1)] = 0.0,
    if_none_match: p.IfNoneMatch = None,
) -> Response[bytes]:
    """The cards within `depth` relationships of a card, and the relationships between them."""
    query = GraphQuery(
        center_card_id=p.identifier(center_card_id, "center_card_id"),
        depth=depth,
        relationship_types=p.choices(RelationshipType, relationship_types, "relationship_types"),
        card_types=p.choices(CardType, card_types, "card_types"),
        min_confidence=min_confidence,
    )
    return document_response(await cards.graph(query), if_none_match)


@get("/graph/stats", responses=responses_of(dict[str, Any]), response_headers=[ETAG])
async def get_graph_stats(cards: GivenCards, if_none_match: p.IfNoneMatch = None) -> Response[bytes]:
    """Counts of cards and relationships by type."""
    return document_response(await cards.graph_stats(), if_none_match)


router = Router(path="/api/v1", route_handlers=[get_graph, get_graph_stats], tags=["graph"])
