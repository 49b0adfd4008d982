"""A copy of somebody's database made ready for the index experiment: migrated, statements filled, doubts known."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from archzero_lab.errors import DatabaseError, LabError
from archzero_lab.jobs.indexes.asked import asked_of, make_roles
from archzero_lab.jobs.indexes.doubts import Doubt, not_copied, not_measured
from archzero_lab.jobs.indexes.judged import Judged, judged_of, list_of
from archzero_lab.jobs.indexes.query_cases import cases_or_reasons
from archzero_lab.jobs.indexes.request import IndexRequest
from archzero_lab.jobs.indexes.session import raw_connection
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import database_url, drop_database
from archzero_lab.postgres.foreign_copy import Copy, copy_database, statistics_of
from archzero_lab.postgres.index_catalog import list_indexes
from archzero_lab.postgres.insights import reading, statistics_since
from archzero_lab.postgres.logged_values import read_log
from archzero_lab.postgres.nested import indirect_names
from archzero_lab.postgres.sampled_copy import copy_sample
from archzero_lab.postgres.sql_text import read_file
from archzero_lab.postgres.statement import Statement
from archzero_lab.postgres.twin import Twin, compare_twins
from archzero_lab.progress import Reporter
from archzero_lab.servers.copy_server import CopyServer, copy_server
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import STATE


@dataclass(frozen=True)
class Prepared:
    """A database that is ours to hurt: its owner's and a superuser's URL, the indexes to judge (oids), the cases.

    `about` says what it is; `twin` and `doubts` how far it is its source; `let_go` which statements are not measured;
    `role_urls` to connect as the roles that statements are run as.
    """

    url: str
    admin_url: str
    indexes: Collection[int]
    cases: Sequence[Statement]
    about: str
    twin: Twin | None = None
    doubts: Sequence[Doubt] = ()
    let_go: Sequence[str] = ()
    notes: Sequence[str] = ()
    role_urls: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def own_copy(stack: Stack, request: IndexRequest, reporter: Reporter) -> Iterator[Prepared]:
    """The copy, made, migrated and its statements filled; dropped when the block ends. The database is only read.

    Raises LabError: a migration that is no SQL, no statement that can be measured, a server that is not to be had.
    """
    assert request.migration is not None
    read_file(request.migration)  # what is no SQL is told before anything is copied
    logged = read_log(request.values_from) if request.values_from else None
    questions = asked_of(request)
    for reason in questions.let_go:
        reporter.note(f"not measured: {reason}")
    if request.strict and questions.let_go:
        raise DatabaseError(f"--strict: {questions.let_go[0]}")
    if not questions.texts:
        raise DatabaseError(f"no statement is left to measure with: {questions.let_go[0]}")
    name = stack.database_name("copy")
    with ExitStack() as closing:
        server = closing.enter_context(copy_server(stack, request.database_url, request.server))
        closing.callback(drop_database, server.url, name)
        give = closing.enter_context(statistics_of(request.database_url, server.programs)) if request.sample else None
        copy, held = copied(server, request, name, reporter)
        url, admin_url = copy.url, database_url(server.url, name)
        if give is not None:
            give(url)
            held += ", planned with the statistics of the whole"
        before = list_of(url)
        with connect(request.database_url) as source, connect(url) as made:
            source.read_only = True
            twin = compare_twins(source, made, copy.left_out, held if request.sample else "")
        with raw_connection(url) as connection:
            cases, reasons = cases_or_reasons(connection, questions.texts, logged, questions.roles)
            indirect = indirect_names(connection)
        if request.strict and reasons:
            raise DatabaseError(f"--strict: {reasons[0]}")
        with reporter.work("migrate"):
            judged = judged_of(url, request.migration, before)
        if give is not None:  # ANALYZE has made the sample's own; those of new expressions stay
            give(url)
        unmeasured = not_measured(_unmeasured(questions.all_texts, cases), indirect)
        role_urls = make_roles(request.database_url, url, admin_url, set(questions.roles.values()))
        yield Prepared(
            url, admin_url, judged.indexes, cases, f"{judged.about} on {held}", twin,
            [*questions.doubts, *_doubts(twin, request), *unmeasured, *_used_there(request, judged)],
            [*questions.let_go, *reasons],
            [*questions.notes, *judged.notes, *_skipped_there(request, judged)], role_urls,
        )  # fmt: skip


def _doubts(twin: Twin, request: IndexRequest) -> list[Doubt]:
    """What of the copy could turn a verdict against an index."""
    doubts = []
    theirs, ours = twin.version
    if theirs != ours:
        doubts.append(
            Doubt(f"its PostgreSQL {ours} plans otherwise than the source's {theirs}: give --server-version {theirs} or"
                  " --copy-on URL")
        )  # fmt: skip
    if twin.collation[0] != twin.collation[1]:
        doubts.append(
            Doubt(f"it orders texts by {twin.collation[1]}, the source by {twin.collation[0]}", of_texts=True)
        )
    if request.sample:
        doubts.append(Doubt(f"its sample of {request.sample:,} rows a table is cheaper to read without it than all"))
    doubts += [Doubt(f"its {row.what} is {row.copy}, the source's {row.source}") for row in twin.settings]
    return [*doubts, *not_copied(twin.left_out)]


def _unmeasured(texts: Mapping[str, str], cases: Sequence[Statement]) -> dict[str, str]:
    """The texts that gave no case."""
    return {
        name: text for name, text in texts.items()
        if not any(case.name == name or case.name.startswith((f"{name}, ", f"{name} (as ")) for case in cases)
    }  # fmt: skip


def _used_there(request: IndexRequest, judged: Judged) -> list[Doubt]:
    """Of indexes that the source has already: how often it has read them, by its own count."""
    if not judged.dropped:
        return []
    with connect(request.database_url, autocommit=True) as source, reading(source):
        since = statistics_since(source)
        rows = source.execute(
            "SELECT schemaname, indexrelname, idx_scan FROM pg_stat_user_indexes WHERE idx_scan > 0"
        ).fetchall()
    return [
        Doubt(
            f"the source has read it {_often(scans)} since {since}: the list lacks what did", index=(schema, name)
        )
        for schema, name, scans in rows if (schema, name) in judged.dropped
    ]  # fmt: skip


def _skipped_there(request: IndexRequest, judged: Judged) -> list[str]:
    """Indexes that the source has INVALID under the name of a new one: a copy has them not, and builds them."""
    with connect(request.database_url, autocommit=True) as source, reading(source):
        left = {(index.schema, index.name): index for index in list_indexes(source) if not index.valid}
    return [
        f"the source has {index.label} INVALID, left by a failed build: IF NOT EXISTS skips it there, and nothing is"
        f" made; first DROP INDEX CONCURRENTLY {index.schema}.{index.name}"
        for place, index in left.items() if place in judged.made
    ]  # fmt: skip


def _often(times: int) -> str:
    return "once" if times == 1 else f"{times:,} times"


def copied(server: CopyServer, request: IndexRequest, name: str, reporter: Reporter) -> tuple[Copy, str]:
    """The copy, and what it holds in words."""
    if request.sample:
        with reporter.work("sample"):
            copy = copy_sample(
                request.database_url, server.url, name, server.programs, request.sample, request.seed or 1
            )
        return (
            copy,
            f"a sample of {request.sample:,} rows a table: its plans and times are not those of the whole database",
        )
    with raw_connection(request.database_url) as source:
        row = source.execute("SELECT pg_database_size(current_database())").fetchone()
    if server.ours:
        require_room(int(row[0]) if row else 0, server_home(STATE))
    with reporter.work("copy"):
        copy = copy_database(request.database_url, server.url, name, server.programs)
    return copy, "a copy of the whole database"


def require_room(size: int, folder: Path) -> None:
    """Raise LabError where a copy does not fit: it needs the dump and the database beside each other, and room to work.

    The dump goes where temporary files go, the database into the folder of the lab's servers.
    """
    for place, needed in ((Path(tempfile.gettempdir()), size), (folder, 2 * size)):
        free = shutil.disk_usage(place).free
        if needed > free:
            raise LabError(
                f"the database has {size / 1e9:.1f} GB and its copy needs {needed / 1e9:.1f} GB under {place}; "
                f"{free / 1e9:.1f} GB are free: make room there, or copy a --sample"
            )
