"""RelationshipService: relationships between cards in PostgreSQL, one statement a request."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, LiteralString

import msgspec
from msgspec import UNSET

from archzero_lab.postgres.pool import Database
from archzero_lab.postgres.request_statements import REQUEST_TAG, fetch_row
from archzero_lab.systems.arczero.cards.changes import announce_changes, write_row
from archzero_lab.systems.arczero.cards.faults import translated
from archzero_lab.systems.arczero.cards.model import (
    Conflict,
    Document,
    IfMatch,
    NotFound,
    RelationshipDraft,
    RelationshipFilter,
    RelationshipPatch,
    VersionMismatch,
)
from archzero_lab.systems.arczero.cards.request_context import ORIGIN, WITH_ORIGIN
from archzero_lab.systems.arczero.cards.slices import Slices

RELATIONSHIP_COLUMNS: LiteralString = """r.id, r.source_card_id AS "fromCardId", r.target_card_id AS "toCardId",
 r.relationship_type AS "relationshipType", r.valid_from AS "validFrom", r.valid_to AS "validTo", r.attributes,
 r.confidence, r.created_at AS "createdAt\""""
_DOCUMENT: LiteralString = (
    "convert_to(row_to_json((SELECT d FROM (SELECT " + RELATIONSHIP_COLUMNS + ") d))::text, 'UTF8'), r.version,"
    " r.version || '-' || r.xmin::text"
)
_MATCHES: LiteralString = (
    " AND (%(if_match)s::text[] IS NULL OR r.version || '-' || r.xmin::text = ANY(%(if_match)s::text[]))"
)


LONGEST_IMPORT_S = 600.0
_LIKE: LiteralString = (
    " FROM relationships r WHERE r.source_card_id = %(source)s::uuid AND r.target_card_id = %(target)s::uuid"
    " AND r.relationship_type = %(type)s AND r.valid_from IS NOT DISTINCT FROM %(valid_from)s::date"
)
# an import looks at its rows when nobody else's are on the way: it waits for writes of one, and they for its end
_IMPORT_WAIT: LiteralString = (
    "SELECT set_config('lock_timeout', '60s', true),"
    " pg_advisory_xact_lock(hashtextextended('archzero relationships imported', 0))"
)
# by what two alike have in common: of two at once the second looks when the first is there
_ALIKE_WAIT: LiteralString = (
    "SELECT pg_advisory_xact_lock_shared(hashtextextended('archzero relationships imported', 0)),"
    " pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'archzero relationship', %(source)s::uuid,"
    " %(target)s::uuid, %(type)s::text, %(valid_from)s::date), 0))"
)
_ALIKE_IMPORTED: LiteralString = (
    "SELECT r.id, o.id FROM relationships r JOIN relationships o ON o.source_card_id = r.source_card_id"
    " AND o.target_card_id = r.target_card_id AND o.relationship_type = r.relationship_type"
    " AND o.valid_from IS NOT DISTINCT FROM r.valid_from AND o.id <> r.id WHERE r.id = ANY(%(ids)s) LIMIT 1"
)


class RelationshipService:
    """The relationship part of the card contract."""

    _database: Database

    async def relationship(self, relationship_id: uuid.UUID) -> Document:
        """One relationship. Raises NotFound."""
        with translated():
            row = await self._database.row(
                "SELECT " + _DOCUMENT + " FROM relationships r WHERE r.id = %(id)s", {"id": relationship_id}
            )
        if row is None:
            raise NotFound(f"no relationship with id {relationship_id}")
        return Document(row[0], row[2], row[1])

    async def relationships(self, question: RelationshipFilter) -> Document:
        """A page of relationships, newest first, with the exact total. Either end may be the card asked for."""
        clauses: list[LiteralString] = []
        params: dict[str, Any] = {}
        if question.card_id is not None:
            clauses.append("(r.source_card_id = %(card)s OR r.target_card_id = %(card)s)")
            params["card"] = question.card_id
        if question.relationship_type is not None:
            clauses.append("r.relationship_type = %(type)s")
            params["type"] = question.relationship_type.value
        condition: LiteralString = " WHERE " + " AND ".join(clauses) if clauses else ""
        params |= {
            "limit": question.page_size,
            "offset": (question.page - 1) * question.page_size,
            "page": question.page,
        }
        newest: LiteralString = " ORDER BY r.created_at DESC, r.id DESC LIMIT %(limit)s OFFSET %(offset)s"
        before: LiteralString = ""
        total: LiteralString = "SELECT count(*) FROM relationships r" + condition
        page: LiteralString = "relationships r" + condition + newest
        if question.card_id is not None:  # a hub has thousands: they are fetched once, for the total and for the page
            before = "WITH ends AS MATERIALIZED (SELECT r.id, r.created_at FROM relationships r" + condition + ") "
            total = "SELECT count(*) FROM ends"
            page = (
                "(SELECT r.id FROM ends r" + newest + ") e JOIN relationships r USING (id)"
                " ORDER BY r.created_at DESC, r.id DESC"
            )
        with translated():
            row = await self._database.row(
                before + "SELECT document, md5(document) FROM (SELECT convert_to(row_to_json(answer)::text, 'UTF8')"
                " AS document FROM (SELECT coalesce(json_agg(p), '[]') AS data, (" + total + ") AS total,"
                " 'eq' AS \"totalRelation\", %(page)s::int AS page, %(limit)s::int AS page_size"
                " FROM (SELECT " + RELATIONSHIP_COLUMNS + " FROM " + page + ") p) answer OFFSET 0) made",
                params,
                prepare=False,
            )
        assert row is not None
        return Document(row[0], row[1])

    async def create_relationship(self, draft: RelationshipDraft) -> tuple[uuid.UUID, Document]:
        """Create a relationship.

        Raises InvalidReference where an end does not exist, Conflict where one of the same ends, type and beginning is.
        """
        params = {
            "id": draft.id or uuid.uuid4(),
            "source": draft.from_card_id,
            "target": draft.to_card_id,
            "type": draft.relationship_type.value,
            "valid_from": draft.valid_from,
            "valid_to": draft.valid_to,
            "attributes": json_text(draft.attributes),
            "confidence": draft.confidence,
            "created_at": draft.created_at,
            "origin": ORIGIN.get(),
        }
        with translated():
            row = await write_row(
                self._database,
                WITH_ORIGIN + "INSERT INTO relationships AS r (id, source_card_id, target_card_id, relationship_type,"
                " valid_from, valid_to, attributes, confidence, created_at) SELECT %(id)s, %(source)s::uuid,"
                " %(target)s::uuid, %(type)s, %(valid_from)s::date, %(valid_to)s::date, %(attributes)s::jsonb,"
                " %(confidence)s::float8, coalesce(%(created_at)s, now()) FROM o WHERE NOT EXISTS (SELECT" + _LIKE + ")"
                " RETURNING " + _DOCUMENT + ", r.id",
                params,
                lock=_ALIKE_WAIT,
            )
            if row is None:
                like = await self._database.row("SELECT r.id" + _LIKE, params)
                raise Conflict(
                    "there is already one of the same cards, type and validFrom"
                    + (f": {like[0]}; change that one" if like is not None else "")
                )
        return row[3], Document(row[0], row[2], row[1])

    async def update_relationship(
        self, relationship_id: uuid.UUID, patch: RelationshipPatch, if_match: IfMatch = None
    ) -> Document:
        """Change the fields that the patch names. Raises NotFound, VersionMismatch."""
        values: dict[str, Any] = {"id": relationship_id, "if_match": listed(if_match), "origin": ORIGIN.get()}
        assignments: LiteralString = ""
        if patch.relationship_type is not UNSET:
            assignments += "relationship_type = %(type)s, "
            values["type"] = patch.relationship_type.value
        if patch.valid_from is not UNSET:
            assignments += "valid_from = %(valid_from)s, "
            values["valid_from"] = patch.valid_from
        if patch.valid_to is not UNSET:
            assignments += "valid_to = %(valid_to)s, "
            values["valid_to"] = patch.valid_to
        if patch.attributes is not UNSET:
            assignments += "attributes = %(attributes)s::jsonb, "
            values["attributes"] = json_text(patch.attributes)
        if patch.confidence is not UNSET:
            assignments += "confidence = %(confidence)s, "
            values["confidence"] = patch.confidence
        with translated():
            row = await write_row(
                self._database,
                WITH_ORIGIN
                + "UPDATE relationships AS r SET "
                + assignments
                + "version = r.version + 1 FROM o WHERE r.id = %(id)s"
                + _MATCHES
                + " RETURNING "
                + _DOCUMENT,
                values,
            )
        if row is None:
            raise await self._missing_relationship(relationship_id, if_match)
        return Document(row[0], row[2], row[1])

    async def delete_relationship(self, relationship_id: uuid.UUID, if_match: IfMatch = None) -> None:
        """Delete a relationship. Raises NotFound, VersionMismatch."""
        with translated():
            row = await write_row(
                self._database,
                WITH_ORIGIN
                + "DELETE FROM relationships r USING o WHERE r.id = %(id)s"
                + _MATCHES
                + " RETURNING r.version",
                {"id": relationship_id, "if_match": listed(if_match), "origin": ORIGIN.get()},
            )
        if row is None:
            raise await self._missing_relationship(relationship_id, if_match)

    async def import_relationships(self, rows: list[RelationshipDraft]) -> int:
        """Create all the relationships or none, through COPY. Raises InvalidReference, Conflict."""
        now, ids = dt.datetime.now(dt.UTC), [row.id or uuid.uuid4() for row in rows]
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
                        + " relationships (id, source_card_id, target_card_id, relationship_type, valid_from,"
                        " valid_to, attributes, confidence, created_at) FROM STDIN"
                    ) as copy,
                ):
                    slices = Slices()
                    for row, row_id in zip(rows, ids, strict=True):
                        await slices.give_way()
                        await copy.write_row(
                            (
                                row_id,
                                row.from_card_id,
                                row.to_card_id,
                                row.relationship_type.value,
                                row.valid_from,
                                row.valid_to,
                                json_text(row.attributes),
                                row.confidence,
                                row.created_at or now,
                            )
                        )
                await fetch_row(connection, _IMPORT_WAIT, {})
                alike = await fetch_row(connection, _ALIKE_IMPORTED, {"ids": ids})
                if alike is not None:
                    raise Conflict(
                        f"row {ids.index(alike[0]) + 1}: there is already one of the same cards, type and validFrom:"
                        f" {alike[1]}"
                    )
                await announce_changes(connection)
        return len(rows)

    async def _missing_relationship(self, relationship_id: uuid.UUID, if_match: IfMatch) -> NotFound | VersionMismatch:
        if if_match is not None:
            with translated():
                row = await self._database.row(
                    "SELECT version FROM relationships WHERE id = %(id)s", {"id": relationship_id}
                )
            if row is not None:
                return VersionMismatch(f"the relationship is at version {row[0]} now, not what If-Match names; read it")
        return NotFound(f"no relationship with id {relationship_id}")


def listed(if_match: IfMatch) -> list[str] | None:
    """ETags as a statement takes them."""
    return None if if_match is None else list(if_match)


def json_text(value: object) -> str:
    """Compact JSON, as the database takes it."""
    return msgspec.json.encode(value).decode()
