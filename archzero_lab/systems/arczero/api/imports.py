"""POST /api/v1/import: many cards or relationships at once, all or none."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from litestar import Request, Response, Router, post
from litestar.params import QueryParameter

from archzero_lab.systems.arczero.api.answers import responses_of
from archzero_lab.systems.arczero.api.errors import BadParameter, error_response
from archzero_lab.systems.arczero.api.service import GivenCards
from archzero_lab.systems.arczero.cards.inventory import Row, parse_rows
from archzero_lab.systems.arczero.cards.model import CardRow, RelationshipDraft

MAX_IMPORT_BYTES = 64 * 1024 * 1024


@post(
    "/import",
    responses=responses_of(dict[str, int], 409, 415, 422, ok=201),
    request_max_body_size=MAX_IMPORT_BYTES,
)
async def import_rows(
    cards: GivenCards,
    request: Request[Any, Any, Any],
    kind: Annotated[Literal["cards", "relationships"], QueryParameter(name="kind")] = "cards",
) -> Response[Any]:
    """JSON Lines (application/x-ndjson) or CSV (text/csv) in the card contract, at most 64 MB."""
    media_type = request.headers.get("content-type", "application/x-ndjson").partition(";")[0].strip()
    if media_type not in ("application/x-ndjson", "application/jsonl", "application/json", "text/csv"):
        return error_response(415, "unsupported_media_type", "send application/x-ndjson or text/csv")
    try:
        text = (await request.body()).decode("utf-8")
    except UnicodeDecodeError:
        raise BadParameter("body", "not UTF-8; Excel saves it as 'CSV UTF-8'") from None
    is_csv = media_type == "text/csv"
    if kind == "cards":
        count = await cards.import_cards(await asyncio.to_thread(_rows, text, CardRow, is_csv))
    else:
        count = await cards.import_relationships(await asyncio.to_thread(_rows, text, RelationshipDraft, is_csv))
    return Response({"imported": count}, status_code=201)


def _rows(text: str, shape: type[Row], is_csv: bool) -> list[Row]:
    """All rows, or InventoryError; in a thread: tens of megabytes take seconds, in which others are answered."""
    return list(parse_rows(text, shape, is_csv=is_csv, where="import"))


router = Router(path="/api/v1", route_handlers=[import_rows], tags=["import"])
