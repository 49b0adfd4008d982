"""`./lab indexes --plans-only`: production's plans before and after a migration, without a row of production."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from archzero_lab.errors import DatabaseError, LabError
from archzero_lab.jobs.indexes.asked import asked_of, make_roles
from archzero_lab.jobs.indexes.query_cases import cases_or_reasons
from archzero_lab.jobs.indexes.request import IndexRequest, check_request
from archzero_lab.jobs.indexes.session import admin_connection, raw_connection, role_sessions
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import database_url, drop_database
from archzero_lab.postgres.foreign_copy import apply_file, copy_database
from archzero_lab.postgres.index_catalog import list_indexes
from archzero_lab.postgres.plan_diff import diff_plans
from archzero_lab.postgres.plans import Plan, parse_plan
from archzero_lab.postgres.sparse_files import make_index_sparse, make_sparse
from archzero_lab.postgres.statement import Statement
from archzero_lab.postgres.twin import compare_twins
from archzero_lab.progress import Reporter
from archzero_lab.servers.stack import Stack


@dataclass(frozen=True)
class PlanChange:
    """A statement's plan before and after: the planner's cost, and the indexes that it reads. Nothing was run."""

    statement: str
    before: Plan
    after: Plan

    @property
    def costs(self) -> tuple[float, float]:
        """The planner's total cost before and after; an estimate, in its own unit."""
        return self.before.root.total_cost, self.after.root.total_cost

    def steps(self) -> list[str]:
        """What becomes of each step that changes, the dearest first."""
        pairs = diff_plans(self.before, self.after).pairs
        changed = [(pair.before, pair.after) for pair in pairs if pair.changed]
        changed.sort(key=lambda pair: -max(step.node.total_cost for step in pair if step is not None))
        lines = []
        for one, other in changed:
            labels = [step.label for step in (one, other) if step is not None]
            if one is None or other is None:
                lines.append(f"{'new' if one is None else 'gone'}: {labels[0]}")
            elif one.label != other.label:
                lines.append(" → ".join(labels))
        return lines


def plan_changes(stack: Stack, request: IndexRequest, reporter: Reporter) -> list[PlanChange]:
    """The plans of all cases before and after the migration, on a copy of schema and statistics alone.

    Statistics hold values of the source (commonest ones, bounds of histograms). The copy is dropped, however it ends.
    Raises LabError where our server is older than PostgreSQL 18, which can take statistics.
    """
    check_request(request)
    assert request.migration is not None
    if not stack.ours or stack.settings.servers == "system":
        raise LabError("--plans-only wants the lab's own PostgreSQL 18: unset ARCHZERO_DATABASE_URL, ARCHZERO_SERVERS")
    questions = asked_of(request)
    programs = stack.postgres_programs
    name = stack.database_name("plans")
    with reporter.work("statistics"):
        copy = copy_database(request.database_url, stack.postgres_url, name, programs, "statistics")
        url = copy.url
    try:
        with connect(request.database_url) as source, connect(url) as made:
            source.read_only = True
            for row in compare_twins(source, made, copy.left_out, "").differs:
                # sizes are those of the statistics; files are made as long afterwards
                if not row.what.endswith("on disk") and not row.what.startswith("table "):
                    reporter.note(f"{row.what}: {row.copy} on the copy, {row.source} on the source")
        admin_url = database_url(stack.postgres_url, name)
        with admin_connection(admin_url) as connection:
            make_sparse(connection)
            before = {index.oid for index in list_indexes(connection)}
        urls = make_roles(request.database_url, url, admin_url, set(questions.roles.values()))
        with raw_connection(url) as connection:  # a new session: the one before knows the old sizes
            cases, reasons = cases_or_reasons(connection, questions.texts, roles=questions.roles)
            for reason in (*questions.let_go, *reasons):
                reporter.note(f"not planned: {reason}")
        first = _plans(url, urls, cases, request)
        with reporter.work("migrate"):
            apply_file(url, request.migration)
        with admin_connection(admin_url) as connection:
            for index in list_indexes(connection):
                if index.oid not in before:
                    for part in index.parts or (index,):
                        make_index_sparse(connection, part.oid)
        urls = make_roles(request.database_url, url, admin_url, set(urls))  # for tables that the migration has made
        then = _plans(url, urls, cases, request)
        return [PlanChange(case.name, first[case.name], then[case.name]) for case in cases]
    finally:
        drop_database(stack.postgres_url, name)


def _plans(
    url: str, role_urls: Mapping[str, str], cases: Sequence[Statement], request: IndexRequest
) -> dict[str, Plan]:
    """The plan of each case, as who it is run as."""
    with (
        raw_connection(url, request.settings) as connection,
        role_sessions(role_urls, request.settings) as sessions,
    ):
        return {case.name: _plan(sessions.get(case.role, connection), case) for case in cases}


def _plan(connection: psycopg.Connection[tuple[object, ...]], case: Statement) -> Plan:
    try:
        row = connection.execute(
            ("EXPLAIN (SETTINGS, FORMAT JSON) " + case.sql).encode(), case.values, prepare=False
        ).fetchone()
    except psycopg.Error as error:
        raise DatabaseError(f"statement {case.name}: {error.diag.message_primary or error}") from None
    assert row is not None
    return parse_plan(row[0])
