"""SQL for lists and searches of cards: a validated CardFilter becomes fixed fragments and parameters."""

from __future__ import annotations

from typing import Any, LiteralString

from archzero_lab.systems.arczero.cards.model import CardFilter, CardStatus

CARD_COLUMNS: LiteralString = """c.id, c.name, c.type, c.lifecycle_phase AS "lifecyclePhase",
 c.quality_score AS "qualityScore", c.description, c.owner_id AS "ownerId", c.created_at AS "createdAt",
 c.updated_at AS "updatedAt", c.attributes, c.tags, c.status, c.version"""
"""The card document: PostgreSQL renders it once and nobody parses it again on the way to the socket."""

LISTED_COLUMNS: LiteralString = """c.id, CASE WHEN octet_length(c.name) > 2000 THEN left(c.name, 500)
 || '… [cut: ' || octet_length(c.name) || ' bytes; read the card]' ELSE c.name END AS name,
 c.type, c.lifecycle_phase AS "lifecyclePhase", c.quality_score AS "qualityScore",
 CASE WHEN octet_length(c.description) > 100000 THEN left(c.description, 2000)
 || '… [cut: ' || octet_length(c.description) || ' bytes; read the card]' ELSE c.description END AS description,
 c.owner_id AS "ownerId", c.created_at AS "createdAt", c.updated_at AS "updatedAt",
 CASE WHEN pg_column_size(c.attributes) > 100000 THEN jsonb_build_object('cut', pg_column_size(c.attributes)
 || ' bytes; read the card') ELSE c.attributes END AS attributes,
 CASE WHEN pg_column_size(c.tags) > 20000 THEN jsonb_build_array('[cut: ' || pg_column_size(c.tags)
 || ' bytes; read the card]') ELSE c.tags END AS tags, c.status, c.version"""
"""A card on a page: what is beyond the contract's limits (put in by plain SQL) is cut, and marked, so that one card
does not make every page that has it slow. The sizes are told without unpacking what is stored apart."""

NEXT_CURSOR: LiteralString = """to_char("createdAt" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z_"') || id"""

_FROM: LiteralString = " FROM cards c"


def like_pattern(text: str) -> str:
    """A LIKE pattern that finds `text` anywhere, its own wildcards escaped.

    >>> like_pattern("50%_a")
    '%50\\\\%\\\\_a%'
    """
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def where(question: CardFilter) -> tuple[LiteralString, dict[str, Any]]:
    """The WHERE clause of a filter without its paging, and its parameters."""
    clauses: list[LiteralString] = []
    params: dict[str, Any] = {}
    if question.status is CardStatus.ACTIVE:
        # a constant, not a parameter: only so can the planner use indexes WHERE status = 'active'
        clauses.append("c.status = 'active'")
    elif question.status is not None:
        clauses.append("c.status = %(status)s")
        params["status"] = question.status.value
    if question.type is not None:
        clauses.append("c.type = %(type)s")
        params["type"] = question.type.value
    if question.lifecycle_phase is not None:
        clauses.append("c.lifecycle_phase = %(phase)s")
        params["phase"] = question.lifecycle_phase.value
    if question.owner_id is not None:
        clauses.append("c.owner_id = %(owner)s")
        params["owner"] = question.owner_id
    if question.min_quality is not None:
        clauses.append("c.quality_score >= %(quality)s")
        params["quality"] = question.min_quality
    if question.tags:
        clauses.append("c.tags ?| %(tags)s")
        params["tags"] = list(question.tags)
    if question.attributes is not None:
        clauses.append("c.attributes @> %(attributes)s::jsonb")
        params["attributes"] = question.attributes
    if question.q is not None:
        clauses.append("(c.name ILIKE %(pattern)s OR c.description ILIKE %(pattern)s)")
        params["pattern"] = like_pattern(question.q)
    return (" WHERE " + " AND ".join(clauses) if clauses else ""), params


def after_cursor(condition: LiteralString, question: CardFilter) -> tuple[LiteralString, dict[str, Any]]:
    """A WHERE clause with the cursor's part added, and its parameters; as it was where there is no cursor."""
    if question.cursor is None:
        return condition, {}
    after: LiteralString = "(c.created_at, c.id) < (%(after_time)s, %(after_id)s)"
    params = {"after_time": question.cursor.created_at, "after_id": question.cursor.id}
    return condition + (" AND " if condition else " WHERE ") + after, params


def page_statement(question: CardFilter) -> tuple[LiteralString, dict[str, Any]]:
    """The page alone, newest first: by keyset after a cursor, else by OFFSET as page numbers ask."""
    condition, params = where(question)
    params["limit"] = question.page_size
    condition, after = after_cursor(condition, question)
    params |= after
    offset: LiteralString = ""
    if question.cursor is None:
        offset = " OFFSET %(offset)s"
        params["offset"] = (question.page - 1) * question.page_size
    return (
        "SELECT "
        + LISTED_COLUMNS
        + _FROM
        + condition
        + " ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s"
        + offset,
        params,
    )


def count_statement(question: CardFilter) -> tuple[LiteralString, dict[str, Any]]:
    """The exact number of cards that the filter finds."""
    condition, params = where(question)
    return "SELECT count(*)" + _FROM + condition, params


def list_statement(question: CardFilter) -> tuple[LiteralString, dict[str, Any]]:
    """One statement whose one row is the whole answer: the JSON document as bytes, and its digest.

    Without OFFSET 0 the planner takes the subquery apart and makes the document twice, once for its digest.
    """
    page, params = page_statement(question)
    count, count_params = count_statement(question)
    params |= count_params
    params |= {"page": question.page, "page_size": question.page_size}
    sql: LiteralString = (
        "SELECT document, md5(document) FROM (SELECT convert_to(row_to_json(answer)::text, 'UTF8') AS document FROM ("
        "SELECT coalesce(json_agg(p), '[]') AS data, (" + count + ") AS total, 'eq' AS \"totalRelation\","
        " %(page)s::int AS page, %(page_size)s::int AS page_size,"
        " CASE WHEN count(*) = %(page_size)s THEN (array_agg(" + NEXT_CURSOR + '))[count(*)] END AS "nextCursor"'
        " FROM (" + page + ") p) answer OFFSET 0) made"
    )
    return sql, params
