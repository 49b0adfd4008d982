"""The statements of the workload explained on both databases: what the indexes change in each plan."""

from __future__ import annotations

import uuid
from typing import Any

from archzero_lab.postgres.insights import index_sizes
from archzero_lab.postgres.migrations import connect
from archzero_lab.postgres.plans import Plan, explain
from archzero_lab.systems.arczero.cards.catalog import Catalog
from archzero_lab.systems.arczero.cards.model import CardFilter, CardType, LifecyclePhase
from archzero_lab.systems.arczero.cards.search import count_statement, page_statement


def statements(catalog: Catalog) -> dict[str, CardFilter]:
    """One question of each kind that the workload asks, by name."""
    kind, phase = CardType(catalog.types[0]), LifecyclePhase(catalog.phases[0])
    found = {
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
        found["filter owner"] = CardFilter(owner_id=uuid.UUID(catalog.owners[0]))
    if catalog.tags:
        found["filter tags"] = CardFilter(tags=(catalog.tags[0],))
    if catalog.attributes:
        found["filter attributes"] = CardFilter(attributes=catalog.attributes[0])
    return found


def collect_plans(urls: dict[str, str], catalog: Catalog) -> list[dict[str, Any]]:
    """Plans of every statement's page and count on each database (each explained twice, the second kept: warm)."""
    entries = []
    for arm, url in urls.items():
        with connect(url, autocommit=True) as connection:
            for name, question in statements(catalog).items():
                for part, build in (("page", page_statement), ("count", count_statement)):
                    sql, params = build(question)
                    explain(connection, sql, params)
                    plan = explain(connection, sql, params)
                    entries.append({"statement": name, "part": part, "arm": arm, **_told(plan)})
    return entries


def collect_index_sizes(urls: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Every index of each database with its size and the scans that the run's workload made of it."""
    found = {}
    for arm, url in urls.items():
        with connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_stat_clear_snapshot()")
            found[arm] = [vars(index) for index in index_sizes(connection)]
    return found


def _told(plan: Plan) -> dict[str, Any]:
    return {
        "planning_ms": plan.planning_ms,
        "execution_ms": plan.execution_ms,
        "blocks": plan.shared_blocks,
        "indexes": list(plan.indexes),
        "nodes": [
            {
                "depth": node.depth,
                "node": node.label,
                "actual_rows": node.actual_rows,
                "plan_rows": node.plan_rows,
                "loops": node.loops,
                "exclusive_ms": round(node.exclusive_ms, 3),
                "exclusive_blocks": node.exclusive_blocks,
                "rows_removed": node.rows_removed,
            }
            for node in plan.root.walk()
        ],
        "raw": plan.raw,
    }
