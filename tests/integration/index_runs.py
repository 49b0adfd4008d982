"""Index experiments on the shop: what is asked, and what comes out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from archzero_lab.bootstrap.system import system_here
from archzero_lab.jobs.indexes.findings import IndexReport
from archzero_lab.jobs.indexes.measure import measure_indexes
from archzero_lab.jobs.indexes.request import IndexRequest
from archzero_lab.progress import Reporter
from archzero_lab.run_folders.run import Run
from archzero_lab.servers.stack import Stack
from tests.integration.shop import MIGRATION, QUERIES


def index_request(
    shop: str, folder: Path, migration: str = MIGRATION, queries: dict[str, str] = QUERIES
) -> IndexRequest:
    """The migration and its queries, written into the folder."""
    (folder / "queries").mkdir()
    for name, text in queries.items():
        (folder / "queries" / f"{name}.sql").write_text(text + ";\n")
    file = folder / "migration.sql"
    file.write_text(migration)
    return IndexRequest(database_url=shop, migration=file, queries=folder / "queries", blocks=6)


def measured(stack: Stack, request: IndexRequest) -> IndexReport:
    """What was found."""
    return measured_run(stack, request)[1]


def measured_run(stack: Stack, request: IndexRequest) -> tuple[Run, IndexReport]:
    """The run and what was found; the copy must be gone."""
    try:
        return measure_indexes(system_here(), stack, request, Reporter(Console(quiet=True)))
    finally:
        assert "copy" not in stack.databases(), "the copy stayed"
