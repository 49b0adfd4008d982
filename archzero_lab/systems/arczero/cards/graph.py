"""GraphService: the neighbourhood of a card by one recursive statement, and counts over the whole graph."""

from __future__ import annotations

from typing import Any, LiteralString

from archzero_lab.postgres.pool import Database
from archzero_lab.systems.arczero.cards.faults import translated
from archzero_lab.systems.arczero.cards.model import Document, GraphQuery, NotFound

MAX_NODES = 1_000
"""A hub's neighbourhood at depth 5 is most of the portfolio; an answer of that size serves nobody."""

# The walk is breadth first and read lazily, so its LIMIT keeps the nearest cards and ends the recursion early.
_GRAPH: LiteralString = """
WITH RECURSIVE walk (id, depth) AS (
    SELECT c.id, 0 FROM cards c WHERE c.id = %(center)s
  UNION
    SELECT n.id, walk.depth + 1
    FROM walk
    CROSS JOIN LATERAL (
        SELECT r.target_card_id AS id FROM relationships r
        WHERE r.source_card_id = walk.id AND r.confidence >= %(confidence)s {types}
      UNION ALL
        SELECT r.source_card_id FROM relationships r
        WHERE r.target_card_id = walk.id AND r.confidence >= %(confidence)s {types}
    ) n
    {neighbour}
    WHERE walk.depth < %(depth)s
), reached AS (
    SELECT id, min(depth) AS depth
    FROM (SELECT id, depth FROM walk LIMIT %(walk_limit)s) w
    GROUP BY id ORDER BY min(depth), id LIMIT %(nodes)s
), nodes AS (
    SELECT c.id, c.name, c.type, c.lifecycle_phase AS "lifecyclePhase", c.quality_score AS "qualityScore",
           c.status, reached.depth
    FROM reached JOIN cards c USING (id) ORDER BY reached.depth, c.id
), edges AS (
    SELECT r.id, r.source_card_id AS "fromCardId", r.target_card_id AS "toCardId",
           r.relationship_type AS "relationshipType", r.confidence
    FROM relationships r
    WHERE r.source_card_id = ANY (ARRAY(SELECT id FROM reached))
      AND r.target_card_id = ANY (ARRAY(SELECT id FROM reached))
      AND r.confidence >= %(confidence)s {types}
    ORDER BY r.id
)
SELECT document, md5(document), center_exists FROM (
    SELECT convert_to(row_to_json(answer)::text, 'UTF8') AS document,
           EXISTS (SELECT FROM reached) AS center_exists
    FROM (SELECT %(center)s::uuid AS "centerCardId", %(depth)s::int AS depth,
                 (SELECT coalesce(json_agg(nodes), '[]') FROM nodes) AS nodes,
                 (SELECT coalesce(json_agg(edges), '[]') FROM edges) AS edges,
                 (SELECT count(*) FROM reached) >= %(nodes)s AS truncated) answer
    OFFSET 0  -- else the planner takes this apart, and walks once for the document and once more for its digest
) made"""

_STATS: LiteralString = """
SELECT document, md5(document) FROM (SELECT convert_to(row_to_json(answer)::text, 'UTF8') AS document FROM (
    SELECT (SELECT count(*) FROM cards) AS cards,
           (SELECT count(*) FROM relationships) AS relationships,
           (SELECT coalesce(json_object_agg(type, n ORDER BY type), '{}')
            FROM (SELECT type, count(*) AS n FROM cards GROUP BY type) t) AS "cardsByType",
           (SELECT coalesce(json_object_agg(relationship_type, n ORDER BY relationship_type), '{}')
            FROM (SELECT relationship_type, count(*) AS n FROM relationships GROUP BY 1) t) AS "relationshipsByType"
) answer OFFSET 0) made"""


class GraphService:
    """The graph part of the card contract."""

    _database: Database

    async def graph(self, query: GraphQuery) -> Document:
        """The neighbourhood of a card, nearest first, at most MAX_NODES cards (`truncated` says so).

        Raises NotFound where the centre does not exist.
        """
        params: dict[str, Any] = {
            "center": query.center_card_id,
            "depth": query.depth,
            "confidence": query.min_confidence,
            "nodes": MAX_NODES,
            "walk_limit": MAX_NODES * 4,
        }
        types: LiteralString = ""
        neighbour: LiteralString = ""
        if query.relationship_types:
            types = "AND r.relationship_type = ANY (%(relationship_types)s)"
            params["relationship_types"] = [kind.value for kind in query.relationship_types]
        if query.card_types:
            neighbour = "JOIN cards c ON c.id = n.id AND c.type = ANY (%(card_types)s)"
            params["card_types"] = [kind.value for kind in query.card_types]
        sql = _GRAPH.replace("{types}", types).replace("{neighbour}", neighbour)
        with translated():
            row = await self._database.row(sql, params, prepare=False)
        if row is None or not row[2]:
            raise NotFound(f"no card with id {query.center_card_id}")
        return Document(row[0], row[1])

    async def graph_stats(self) -> Document:
        """Counts of cards and relationships by type."""
        with translated():
            row = await self._database.row(_STATS)
        assert row is not None
        return Document(row[0], row[1])
