"""Plan fragility: which statements are one ANALYZE away from a plan that does far more work.

ANALYZE samples 300 rows for each unit of the statistics target, so statistics of a larger table differ from one to the
next, and near a tie of costs so does the plan. Statistics are made anew many times on a copy; each shape of plan is
counted, and run once for what it reads. Before that each is planned as after a load that nobody has analyzed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from archzero_lab.errors import DatabaseError
from archzero_lab.jobs.indexes.asked import asked_of
from archzero_lab.jobs.indexes.cures import tried_cures
from archzero_lab.jobs.indexes.edge_values import edge_cases
from archzero_lab.jobs.indexes.own_copy import copied
from archzero_lab.jobs.indexes.plan_shapes import Found, hold_together
from archzero_lab.jobs.indexes.query_cases import cases_or_reasons
from archzero_lab.jobs.indexes.request import IndexRequest
from archzero_lab.jobs.indexes.resampled_plans import Planner, tables_of
from archzero_lab.jobs.indexes.session import admin_connection, raw_connection
from archzero_lab.postgres.databases import database_url, drop_database
from archzero_lab.progress import Reporter
from archzero_lab.servers.copy_server import copy_server
from archzero_lab.servers.stack import Stack


def plan_fragility(
    stack: Stack, request: IndexRequest, analyzes: int, targets: Sequence[int], reporter: Reporter
) -> Found:
    """Plans of all statements over so many ANALYZEs at each target, on a copy of the whole database.

    Of each statement its cases (common, rare, middle and absent values, some beyond the histogram), and its plan for
    any. Raises LabError as own copies do.
    """
    questions = asked_of(request)
    with (
        _copy(stack, request, reporter) as (url, admin_url),
        raw_connection(url, request.settings) as connection,
        admin_connection(admin_url) as admin,
    ):
        cases, reasons = cases_or_reasons(connection, questions.texts)
        if not cases:
            raise DatabaseError(f"no statement is left: {[*questions.let_go, *reasons][0]}")
        cases += edge_cases(connection, cases)
        tables = tables_of(connection)
        planner = Planner(connection, cases, tables)
        seen = planner.without_statistics(admin)
        with reporter.work("statistics") as tell:
            for number, target in enumerate(targets):

                def progress(share: float, done: int = number) -> None:
                    tell((done + share) / len(targets))

                seen += planner.over_analyzes(target, analyzes, progress)
        hold_together(seen)
        cures = tried_cures(connection, cases, seen, tables, analyzes)
    return Found(seen, cures, [*questions.let_go, *reasons, *planner.let_go])


@contextmanager
def _copy(stack: Stack, request: IndexRequest, reporter: Reporter) -> Iterator[tuple[str, str]]:
    """Its owner's URL, and a superuser's."""
    name = stack.database_name("fragility")
    with ExitStack() as closing:
        server = closing.enter_context(copy_server(stack, request.database_url, request.server))
        closing.callback(drop_database, server.url, name)
        copy, _ = copied(server, request, name, reporter)
        yield copy.url, database_url(server.url, name)
