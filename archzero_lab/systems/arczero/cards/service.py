"""CardService: cards in PostgreSQL, one statement a request, the JSON document made by the database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any, LiteralString

import msgspec
from msgspec import UNSET

from archzero_lab.postgres.pool import Database
from archzero_lab.postgres.request_statements import REQUEST_TAG, fetch_row
from archzero_lab.systems.arczero.cards.changes import announce_changes, write_row
from archzero_lab.systems.arczero.cards.faults import translated
from archzero_lab.systems.arczero.cards.graph import GraphService
from archzero_lab.systems.arczero.cards.model import (
    CardDraft,
    CardFilter,
    CardPatch,
    CardRow,
    Document,
    IfMatch,
    NotFound,
    VersionMismatch,
)
from archzero_lab.systems.arczero.cards.relationships import (
    LONGEST_IMPORT_S,
    RelationshipService,
    json_text,
    listed,
)
from archzero_lab.systems.arczero.cards.request_context import ORIGIN, WITH_ORIGIN
from archzero_lab.systems.arczero.cards.search import CARD_COLUMNS, list_statement
from archzero_lab.systems.arczero.cards.slices import Slices

_DOCUMENT: LiteralString = (
    "convert_to(row_to_json((SELECT d FROM (SELECT " + CARD_COLUMNS + ") d))::text, 'UTF8'), c.version,"
    " c.version || '-' || c.xmin::text"
)
_MATCHES: LiteralString = (
    " AND (%(if_match)s::text[] IS NULL OR c.version || '-' || c.xmin::text = ANY(%(if_match)s::text[]))"
)
_COLUMN: dict[str, LiteralString] = {
    "name": "name",
    "type": "type",
    "lifecycle_phase": "lifecycle_phase",
    "quality_score": "quality_score",
    "description": "description",
    "owner_id": "owner_id",
    "tags": "tags",
    "attributes": "attributes",
    "status": "status",
}
ListStatement = Callable[[CardFilter], tuple[LiteralString, dict[str, Any]]]
"""Makes one statement whose one row is the whole answer: the JSON document as bytes, and its digest."""


class CardService(RelationshipService, GraphService):
    """The card contract on PostgreSQL alone; implements cards.protocol.Cards.

    `lists` makes the statement of a list or search: the plain one, or list_statement_v2 where that index set is.
    """

    def __init__(self, database: Database, lists: ListStatement = list_statement) -> None:
        self._database = database
        self._lists = lists

    async def card(self, card_id: uuid.UUID) -> Document:
        """One card. Raises NotFound."""
        with translated():
            row = await self._database.row("SELECT " + _DOCUMENT + " FROM cards c WHERE c.id = %(id)s", {"id": card_id})
        if row is None:
            raise NotFound(f"no card with id {card_id}")
        return card_document(row)

    async def cards(self, question: CardFilter) -> Document:
        """A page of cards, newest first, with the exact total or, by totalRelation "gte", a lower bound."""
        sql, params = self._lists(question)
        with translated():
            row = await self._database.row(sql, params, prepare=False)
        if row is None:
            raise AssertionError("an aggregate without GROUP BY always gives a row")
        return Document(row[0], row[1])

    async def create_card(self, draft: CardDraft) -> tuple[uuid.UUID, Document]:
        """Create a card. Raises Conflict where one of its type and name exists."""
        with translated():
            row = await write_row(
                self._database,
                WITH_ORIGIN
                + "INSERT INTO cards AS c (name, type, lifecycle_phase, quality_score, description, owner_id,"
                " tags, attributes, status) SELECT %(name)s, %(type)s, %(lifecycle_phase)s, %(quality_score)s::int,"
                " %(description)s, %(owner_id)s::uuid, %(tags)s::jsonb, %(attributes)s::jsonb, %(status)s FROM o"
                " RETURNING " + _DOCUMENT + ", c.id",
                {**column_values(draft), "origin": ORIGIN.get()},
            )
        assert row is not None
        return row[3], card_document(row)

    async def update_card(self, card_id: uuid.UUID, patch: CardPatch, if_match: IfMatch = None) -> Document:
        """Change the fields that the patch names. Raises NotFound, Conflict, VersionMismatch."""
        values = column_values(patch)
        assignments: LiteralString = ""
        for name in values:
            cast: LiteralString = "::jsonb" if name in ("tags", "attributes") else ""
            assignments += _COLUMN[name] + " = %(" + _COLUMN[name] + ")s" + cast + ", "
        with translated():
            row = await write_row(
                self._database,
                WITH_ORIGIN + "UPDATE cards AS c SET " + assignments + "version = c.version + 1, updated_at = now()"
                " FROM o WHERE c.id = %(id)s" + _MATCHES + " RETURNING " + _DOCUMENT,
                {**values, "id": card_id, "if_match": listed(if_match), "origin": ORIGIN.get()},
            )
        if row is None:
            raise await self._missing(card_id, if_match)
        return card_document(row)

    async def delete_card(self, card_id: uuid.UUID, if_match: IfMatch = None) -> None:
        """Delete a card and, by its foreign keys, its relationships. Raises NotFound, VersionMismatch."""
        with translated():
            row = await write_row(
                self._database,
                WITH_ORIGIN + "DELETE FROM cards c USING o WHERE c.id = %(id)s" + _MATCHES + " RETURNING c.version",
                {"id": card_id, "if_match": listed(if_match), "origin": ORIGIN.get()},
            )
        if row is None:
            raise await self._missing(card_id, if_match)

    async def import_cards(self, rows: list[CardRow]) -> int:
        """Create all the cards or none, through COPY, and return how many. Raises Conflict, InvalidValue."""
        now = dt.datetime.now(dt.UTC)
        with translated():
            async with self._database.transaction(LONGEST_IMPORT_S) as connection:
                await fetch_row(
                    connection, "SELECT set_config('archzero.origin', %(origin)s, true)", {"origin": ORIGIN.get()}
                )
                async with (
                    connection.cursor() as cursor,
                    cursor.copy(
                        "COPY "
                        + REQUEST_TAG
                        + " cards (id, name, type, lifecycle_phase, quality_score, description, owner_id, created_at,"
                        " updated_at, attributes, tags, status) FROM STDIN"
                    ) as copy,
                ):
                    slices = Slices()
                    for card in rows:
                        await slices.give_way()
                        created = card.created_at or now
                        await copy.write_row(
                            (
                                card.id or uuid.uuid4(),
                                card.name,
                                card.type.value,
                                card.lifecycle_phase.value,
                                card.quality_score,
                                card.description,
                                card.owner_id,
                                created,
                                card.updated_at or created,
                                json_text(card.attributes),
                                json_text(card.tags),
                                card.status.value,
                            )
                        )
                await announce_changes(connection)
        return len(rows)

    async def _missing(self, card_id: uuid.UUID, if_match: IfMatch) -> NotFound | VersionMismatch:
        if if_match is not None:
            with translated():
                row = await self._database.row("SELECT version FROM cards WHERE id = %(id)s", {"id": card_id})
            if row is not None:
                return VersionMismatch(f"the card is at version {row[0]} now, not what If-Match names; read it")
        return NotFound(f"no card with id {card_id}")


def card_document(row: tuple[Any, ...]) -> Document:
    """A Document of a row that begins with the JSON bytes, the version and the ETag."""
    return Document(row[0], row[2], row[1])


def column_values(shape: msgspec.Struct) -> dict[str, Any]:
    """The fields of a draft or patch that are set, as statement parameters (JSON columns as text)."""
    values: dict[str, Any] = {}
    for name in shape.__struct_fields__:
        value = getattr(shape, name)
        if value is UNSET:
            continue
        if name in ("tags", "attributes"):
            value = json_text(value)
        elif isinstance(value, str):
            value = str(value)
        values[name] = value
    return values
