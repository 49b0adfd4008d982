"""The statements of the workload, one of each kind, with values that the database really holds."""

from __future__ import annotations

import uuid

import psycopg

from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.statement import Statement
from archzero_lab.systems.arczero.cards.catalog import Catalog
from archzero_lab.systems.arczero.cards.model import CardFilter, CardType, LifecyclePhase
from archzero_lab.systems.arczero.cards.search import count_statement, page_statement


def list_statements(connection: Connection, catalog: Catalog) -> list[Statement]:
    """Pages and counts of every kind of question, values written into the SQL; then what is asked about one card."""
    written = psycopg.ClientCursor(connection)
    return [
        Statement(name, written.mogrify(*build(question)), part=part)
        for name, question in questions(catalog).items()
        for part, build in (("page", page_statement), ("count", count_statement))
    ] + _by_card(catalog.ids)


def questions(catalog: Catalog) -> dict[str, CardFilter]:
    """One question of each kind that the workload asks, by name."""
    kind, phase = CardType(catalog.types[0]), LifecyclePhase(catalog.phases[0])
    by_name = {
        "list": CardFilter(),
        "list, page 50": CardFilter(page=50),
        "filter type": CardFilter(type=kind),
        "filter type and phase": CardFilter(type=kind, lifecycle_phase=phase),
        "filter phase and quality": CardFilter(lifecycle_phase=phase, min_quality=90),
        "search, common word": CardFilter(q=catalog.common[0]),
        "search, middling word": CardFilter(q=catalog.middling[0]),
        "search, rare word": CardFilter(q=catalog.rare[0]),
        "search, two characters": CardFilter(q=catalog.short[0]),
    }
    if catalog.owners:
        by_name["filter owner"] = CardFilter(owner_id=uuid.UUID(catalog.owners[0]))
    if catalog.tags:
        by_name["filter tags"] = CardFilter(tags=(catalog.tags[0],))
    if catalog.attributes:
        by_name["filter attributes"] = CardFilter(attributes=catalog.attributes[0])
    return by_name


def _by_card(ids: list[str]) -> list[Statement]:
    card = ids[len(ids) // 2]
    return [
        Statement("card", "SELECT * FROM cards WHERE id = $1::uuid", (card,)),
        Statement(
            "relationships of a card",
            "SELECT * FROM relationships WHERE source_card_id = $1::uuid OR target_card_id = $1::uuid"
            " ORDER BY created_at DESC, id DESC LIMIT 20", (card,),
        ),
        Statement(
            "relationships from a card, by type",
            "SELECT relationship_type, count(*) FROM relationships WHERE source_card_id = $1::uuid GROUP BY 1", (card,),
        ),
    ]  # fmt: skip
