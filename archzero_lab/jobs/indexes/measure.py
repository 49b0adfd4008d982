"""`./lab indexes`: the index experiment on phase 5's migration, or on a copy of somebody's database with theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

from archzero_lab.errors import LabError
from archzero_lab.jobs.indexes.budget import Budget
from archzero_lab.jobs.indexes.experiment import run_index_experiment
from archzero_lab.jobs.indexes.findings import IndexReport
from archzero_lab.jobs.indexes.judged import list_of
from archzero_lab.jobs.indexes.own_copy import Prepared, own_copy
from archzero_lab.jobs.indexes.page import page
from archzero_lab.jobs.indexes.request import IndexRequest, check_request
from archzero_lab.postgres.connection import connection_parts
from archzero_lab.postgres.databases import database_url
from archzero_lab.progress import Reporter
from archzero_lab.run_folders.environment import describe_machine
from archzero_lab.run_folders.run import LATEST_INDEXES, Run
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.system import Rows, System

_PURPOSE = "indexes"


def measure_indexes(system: System, stack: Stack, request: IndexRequest, reporter: Reporter) -> tuple[Run, IndexReport]:
    """Run it, and write it and its page into a run's folder. Nothing of a copy stays, however it ends.

    Raises LabError for what a person can mend; a database that was given is read and never changed.
    """
    check_request(request)
    budget = Budget(request.budget_s)
    if not stack.ours and not request.server.url:
        raise LabError(
            "the index experiment hides indexes and drops them: it wants the lab's own server; unset "
            "ARCHZERO_DATABASE_URL and name the database with --database-url, which is copied"
        )
    made = own_copy(stack, request, reporter) if request.database_url else _of_system(system, stack, request, reporter)
    with made as ready, reporter.work("measure") as tell:
        experiment = run_index_experiment(
            ready.url, ready.admin_url, ready.indexes, ready.cases, blocks=request.blocks,
            reads_per_write=request.reads_per_write, seed=request.seed, doubts=ready.doubts, role_urls=ready.role_urls,
            settings=request.settings, budget=budget, tell=reporter.note, progress=tell,
        )  # fmt: skip
    experiment = replace(experiment, let_go=(*ready.let_go, *experiment.let_go))
    run = Run.new("indexes")
    facts = experiment.as_dict() | {
        "about": ready.about, "reads_per_write": request.reads_per_write,
        "twin": [asdict(row) for row in ready.twin.rows] if ready.twin else [],
        "left_out": [one.in_words for one in ready.twin.left_out] if ready.twin else [],
        "notes": list(ready.notes), "given_settings": dict(request.settings),
    }  # fmt: skip
    run.index_experiment = facts | describe_machine() | {"run_id": run.path.name}
    run.write_page(page(run.index_experiment))
    run.publish(LATEST_INDEXES)
    return run, experiment


@contextmanager
def _of_system(system: System, stack: Stack, request: IndexRequest, reporter: Reporter) -> Iterator[Prepared]:
    """The indexes that the second of the system's compared databases has and the first has not."""
    rows = Rows(request.size, request.seed, request.files)
    with system.prepare(stack, rows, _PURPOSE, system.compared, reporter) as prepared:
        before, after = (prepared.urls[name] for name in system.compared)
        there = {(index.schema, index.name) for index in list_of(before)}
        cases = [
            replace(one, name=f"{one.name}, {one.part}" if one.part else one.name) for one in prepared.statements()
        ]
        new = {index.oid for index in list_of(after) if (index.schema, index.name) not in there}
        about = f"{system.title}: its migration on {prepared.facts['label']}"
        yield Prepared(after, database_url(stack.postgres_url, _name_of(after)), new, cases, about)


def _name_of(url: str) -> str:
    return str(connection_parts(url)["dbname"])
