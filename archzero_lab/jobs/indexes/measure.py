"""`./lab indexes`: the index experiment on phase 5's migration, or on a copy of somebody's database with theirs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.jobs.indexes.experiment import run_index_experiment
from archzero_lab.jobs.indexes.page import page
from archzero_lab.jobs.indexes.query_cases import busiest_statements, cases_of, read_queries
from archzero_lab.jobs.indexes.session import raw_connection
from archzero_lab.jobs.indexes.verdict import READS_PER_WRITE, IndexReport
from archzero_lab.postgres.connection import connect, connection_parts
from archzero_lab.postgres.databases import database_url, drop_database
from archzero_lab.postgres.foreign_copy import apply_file, copy_database, statistics_of, stop_autovacuum
from archzero_lab.postgres.index_catalog import list_indexes
from archzero_lab.postgres.sampled_copy import copy_sample
from archzero_lab.postgres.statement import Statement
from archzero_lab.progress import Reporter
from archzero_lab.run_folders.environment import describe_machine
from archzero_lab.run_folders.run import LATEST_INDEXES, Run
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import STATE
from archzero_lab.systems.system import Rows, System

_PURPOSE = "indexes"


@dataclass(frozen=True)
class IndexRequest:
    """What `lab indexes` was asked for: the system's own migration at a size, or a database with one and queries."""

    size: int = 20_000
    seed: int = 1
    blocks: int = 10
    reads_per_write: float = READS_PER_WRITE
    database_url: str = ""
    migration: Path | None = None
    queries: Path | None = None
    from_statistics: int = 0
    files: Mapping[str, Path] = field(default_factory=dict)
    sample: int = 0


def check_request(request: IndexRequest) -> None:
    """Raise SettingsError for what cannot be meant, before anything is started."""
    if request.database_url and request.migration is None:
        raise SettingsError("--database-url needs --migration FILE.sql: the indexes to try on a copy of it")
    if request.database_url and not (request.queries or request.from_statistics):
        raise SettingsError("--database-url needs --queries DIR or --from-pg-stat-statements N: what reads it")
    if not request.database_url and (request.migration or request.queries or request.from_statistics):
        raise SettingsError("--migration and --queries are for a database of your own: give --database-url")
    if request.sample and not request.database_url:
        raise SettingsError("--sample is of a database of your own: give --database-url, or --cards for the lab's own")
    if request.migration is not None and not request.migration.is_file():
        raise SettingsError(f"--migration {request.migration}: no such file")


def measure_indexes(system: System, stack: Stack, request: IndexRequest, reporter: Reporter) -> tuple[Run, IndexReport]:
    """Run it, and write it and its page into a run's folder. Nothing of a copy stays, however it ends.

    Raises LabError for what a person can mend; a database that was given is read and never changed.
    """
    check_request(request)
    if not stack.ours:
        raise LabError(
            "the index experiment hides indexes and drops them: it wants the lab's own server; unset "
            "ARCHZERO_DATABASE_URL and name the database with --database-url, which is copied"
        )
    made = _copy(stack, request, reporter) if request.database_url else _of_system(system, stack, request, reporter)
    with made as (url, indexes, cases, about), reporter.work("measure") as tell:
        admin_url = database_url(stack.postgres_url, str(connection_parts(url)["dbname"]))
        found = run_index_experiment(
            url, admin_url, indexes, cases, blocks=request.blocks, reads_per_write=request.reads_per_write,
            seed=request.seed, progress=tell,
        )  # fmt: skip
    run = Run.new("indexes")
    told = found.as_dict() | {"about": about, "blocks": request.blocks, "reads_per_write": request.reads_per_write}
    run.index_experiment = told | describe_machine() | {"run_id": run.path.name}
    run.write_page(page(run.index_experiment))
    run.publish(LATEST_INDEXES)
    return run, found


@contextmanager
def _of_system(
    system: System, stack: Stack, request: IndexRequest, reporter: Reporter
) -> Iterator[tuple[str, list[str], list[Statement], str]]:
    """The indexes that the second of the system's compared databases has and the first has not."""
    rows = Rows(request.size, request.seed, request.files)
    with system.prepare(stack, rows, _PURPOSE, system.compared, reporter) as prepared:
        before, after = (prepared.urls[name] for name in system.compared)
        there = _names(before)
        cases = [
            replace(one, name=f"{one.name}, {one.part}" if one.part else one.name) for one in prepared.statements()
        ]
        new = [name for name in _names(after) if name not in there]
        yield after, new, cases, f"{system.title}: its migration on {prepared.facts['label']}"


@contextmanager
def _copy(
    stack: Stack, request: IndexRequest, reporter: Reporter
) -> Iterator[tuple[str, list[str], list[Statement], str]]:
    assert request.migration is not None
    programs, texts = stack.postgres_programs, texts_of(request)
    name = stack.database_name("copy")
    with ExitStack() as closing:
        closing.callback(drop_database, stack.postgres_url, name)
        give = closing.enter_context(statistics_of(request.database_url, programs)) if request.sample else None
        url, held = _copied(stack, request, name, programs, reporter)
        if give is not None:
            give(url)
            held += ", planned with the statistics of the whole"
        before = _names(url)
        with raw_connection(url) as connection:
            cases = [case for title, text in texts.items() for case in cases_of(connection, title, text)]
        with reporter.work("migrate"):
            apply_file(url, request.migration)
            with connect(url, autocommit=True) as connection:
                connection.execute("ANALYZE")
                stop_autovacuum(connection)  # of the tables that the migration has made
            if give is not None:  # the line before has made the sample's own; those of new expressions stay
                give(url)
        new = [index for index in _names(url) if index not in before]
        yield url, new, cases, f"{request.migration.name} on {held}"


def _copied(stack: Stack, request: IndexRequest, name: str, programs: Path, reporter: Reporter) -> tuple[str, str]:
    """The copy's URL, and what it holds in words."""
    if request.sample:
        with reporter.work("sample"):
            url = copy_sample(
                request.database_url, stack.postgres_url, name, programs, request.sample, request.seed or 1
            )
        return (
            url,
            f"a sample of {request.sample:,} rows a table: its plans and times are not those of the whole database",
        )
    with raw_connection(request.database_url) as source:
        row = source.execute("SELECT pg_database_size(current_database())").fetchone()
    require_room(row[0] if row else 0, server_home(STATE))
    with reporter.work("copy"):
        url = copy_database(request.database_url, stack.postgres_url, name, programs)
    return url, "a copy of the whole database"


def texts_of(request: IndexRequest) -> dict[str, str]:
    """The statements that were asked for, by name: of files, and of the given server's own statistics."""
    texts = read_queries(request.queries) if request.queries else {}
    if request.from_statistics:
        with raw_connection(request.database_url) as source:
            source.execute("SET default_transaction_read_only = on")
            source.execute("SET statement_timeout = '30s'")
            texts |= busiest_statements(source, request.from_statistics)
    return texts


def _names(url: str) -> list[str]:
    with raw_connection(url) as connection:
        return [index.name for index in list_indexes(connection)]


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
