"""What the databases of a run tell once all is measured: plans of the statements, sizes and use of the indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.insights import index_sizes
from archzero_lab.postgres.partial_indexes import partial_indexes
from archzero_lab.postgres.plans import Plan, explain
from archzero_lab.postgres.statement import Statement
from archzero_lab.run_folders.run import Run
from archzero_lab.systems.system import Prepared


def keep_database_facts(run: Run, prepared: Prepared, compared: Sequence[str]) -> None:
    """Count, explain and measure, in that order: what is asked here is part of no measurement."""
    urls = {name: prepared.urls[name] for name in compared if name in prepared.urls}
    run.indexes = collect_index_sizes(prepared.urls)
    run.plans = collect_plans(urls, [statement for statement in prepared.statements() if statement.part])
    run.sizes = {
        "tables": dict(prepared.tables_as_indexes()),
        "partial": [asdict(index) for index in partial_indexes(urls[compared[1]])] if compared[1] in urls else [],
    }


def collect_plans(urls: Mapping[str, str], statements: Sequence[Statement]) -> list[dict[str, Any]]:
    """The plan of every statement on each database (each explained twice, the second kept: warm)."""
    entries = []
    for arm, url in urls.items():
        with connect(url, autocommit=True) as connection:
            for statement in statements:
                for _ in range(2):
                    plan = explain(connection, statement.sql, None)
                entries.append({"statement": statement.name, "part": statement.part, "arm": arm, **_plan_entry(plan)})
    return entries


def collect_index_sizes(urls: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Every index of each database with its size and the scans that the run's workload made of it."""
    sizes = {}
    for arm, url in urls.items():
        with connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_stat_clear_snapshot()")
            sizes[arm] = [vars(index) for index in index_sizes(connection)]
    return sizes


def _plan_entry(plan: Plan) -> dict[str, Any]:
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
