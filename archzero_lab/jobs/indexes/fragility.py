"""Plan fragility: which statements are one ANALYZE away from a plan that does far more work.

ANALYZE samples 300 rows for each unit of the statistics target, so statistics differ from one to the next, and near a
tie of costs so does the plan. Statistics are made anew many times on a copy; each shape of plan is counted, and run
once for what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from archzero_lab.errors import DatabaseError
from archzero_lab.jobs.indexes.asked import asked_of
from archzero_lab.jobs.indexes.own_copy import copied
from archzero_lab.jobs.indexes.plan_shapes import Found, Seen
from archzero_lab.jobs.indexes.query_cases import cases_or_reasons
from archzero_lab.jobs.indexes.request import IndexRequest
from archzero_lab.jobs.indexes.resampled_plans import over_analyzes, tables_of
from archzero_lab.jobs.indexes.session import raw_connection
from archzero_lab.jobs.indexes.statistics_cures import tried_cures
from archzero_lab.postgres.databases import drop_database
from archzero_lab.progress import Reporter
from archzero_lab.servers.copy_server import copy_server
from archzero_lab.servers.stack import Stack


def plan_fragility(
    stack: Stack, request: IndexRequest, analyzes: int, targets: Sequence[int], reporter: Reporter
) -> Found:
    """Plans of all statements over so many ANALYZEs at each target, on a copy of the whole database.

    Of each statement its cases (common, rare, absent values) and its generic plan. Raises LabError as own copies do.
    """
    questions = asked_of(request)
    with _copy(stack, request, reporter) as url, raw_connection(url, request.settings) as connection:
        cases, reasons = cases_or_reasons(connection, questions.texts)
        if not cases:
            raise DatabaseError(f"no statement is left: {[*questions.let_go, *reasons][0]}")
        tables = tables_of(connection)
        seen: list[Seen] = []
        with reporter.work("statistics") as tell:
            for number, target in enumerate(targets):

                def progress(share: float, done: int = number) -> None:
                    tell((done + share) / len(targets))

                seen += over_analyzes(connection, cases, tables, analyzes, target, progress)
        cures = tried_cures(connection, cases, seen, tables, analyzes)
    return Found(seen, cures, [*questions.let_go, *reasons])


@contextmanager
def _copy(stack: Stack, request: IndexRequest, reporter: Reporter) -> Iterator[str]:
    name = stack.database_name("fragility")
    with ExitStack() as closing:
        server = closing.enter_context(copy_server(stack, request.database_url, request.server))
        closing.callback(drop_database, server.url, name)
        copy, _ = copied(server, request, name, reporter)
        yield copy.url
