"""POST /api/v1/import: many cards or relationships at once, all or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from litestar import Request, Response, Router, post
from litestar.params import QueryParameter

from archzero_lab.postgres.fair_turns import CLIENT, FairTurns
from archzero_lab.systems.arczero.api.answers import responses_of
from archzero_lab.systems.arczero.api.errors import BadParameter, error_response
from archzero_lab.systems.arczero.api.service import GivenCards
from archzero_lab.systems.arczero.cards.inventory import Row, parse_lines
from archzero_lab.systems.arczero.cards.model import CardRow, RelationshipDraft, Unavailable
from archzero_lab.systems.arczero.cards.slices import Slices

MAX_IMPORT_BYTES = 64 * 1024 * 1024
AT_ONCE, OF_ONE = 4, 2
"""Imports that a process takes in at a time, and of one address: the bodies of the others are not read yet."""
_LONGEST_WAIT_S = 30.0
_LONGEST_BODY_S = 120.0
"""From its turn on, which others wait for."""


_turns = FairTurns(AT_ONCE, OF_ONE)


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
    """JSON Lines (application/x-ndjson) or CSV (text/csv) in the card contract, at most 64 MB, a few at a time."""
    media_type = request.headers.get("content-type", "application/x-ndjson").partition(";")[0].strip()
    if media_type not in ("application/x-ndjson", "application/jsonl", "application/json", "text/csv"):
        return error_response(415, "unsupported_media_type", "send application/x-ndjson or text/csv")
    async with _turn():
        try:
            async with asyncio.timeout(_LONGEST_BODY_S):
                text = (await request.body()).decode("utf-8")
        except TimeoutError:
            return error_response(408, "timeout", f"the import's body did not come within {_LONGEST_BODY_S:.0f} s")
        except UnicodeDecodeError:
            raise BadParameter("body", "not UTF-8; Excel saves it as 'CSV UTF-8'") from None
        is_csv = media_type == "text/csv"
        if kind == "cards":
            count = await cards.import_cards(await _rows(text, CardRow, is_csv))
        else:
            count = await cards.import_relationships(await _rows(text, RelationshipDraft, is_csv))
    return Response({"imported": count}, status_code=201)


@asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    """One of the few, in rotation of clients. Raises Unavailable where none comes free for a while."""
    client = CLIENT.get()
    try:
        async with asyncio.timeout(_LONGEST_WAIT_S):
            await _turns.take(client)
    except TimeoutError:
        raise Unavailable("too many imports at once; nothing of this one was read; try again in a moment") from None
    try:
        yield
    finally:
        _turns.give(client)


async def _rows(text: str, shape: type[Row], is_csv: bool) -> list[Row]:
    """All rows, or InventoryError; in slices: tens of megabytes take a while, in which others are answered."""
    rows, slices = [], Slices()
    for row in parse_lines(text, shape, is_csv=is_csv, where="import"):
        if row is not None:
            rows.append(row)
        await slices.give_way()
    return rows


router = Router(path="/api/v1", route_handlers=[import_rows], tags=["import"])
