"""An arm's own database: the team's is read once, each arm gets a copy of that, prepared and migrated; all dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import psycopg

from archzero_lab.errors import SettingsError
from archzero_lab.postgres.connection import connect, require_url
from archzero_lab.postgres.databases import copy_guest_database, database_url, drop_database
from archzero_lab.postgres.foreign_copy import apply_file, copy_database, stop_autovacuum
from archzero_lab.postgres.sampled_copy import copy_sample
from archzero_lab.postgres.whole_statistics import pages_to_vacuum
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.team.builds import Build, hint_at_install
from archzero_lab.systems.team.project_file import Project, filled
from archzero_lab.systems.team.shell import run_command


def source_of(project: Project) -> tuple[str, str]:
    """The team's database as libpq takes it, and the scheme in which its service wants a URL. ("", "") without one.

    SQLAlchemy's postgresql+psycopg:// is a scheme like any. Raises SettingsError.
    """
    if project.database is None:
        return "", ""
    url = filled(project.database.url, f"{project.path.name}: [database] url")
    scheme, mark, rest = url.partition("://")
    if not mark:
        raise SettingsError(f"{project.path.name}: [database] url must be a URL such as postgresql://USER@HOST/NAME")
    return require_url(f"{scheme.partition('+')[0]}://{rest}"), scheme


@dataclass(frozen=True)
class ArmCopy:
    """An arm's database. `to_vacuum` are the pages by table that what prepared and migrated it leaves to a VACUUM."""

    url: str
    to_vacuum: Mapping[str, int]


@contextmanager
def copies(
    project: Project, stack: Stack, builds: Mapping[str, Build], purpose: str, rows: int = 0
) -> Iterator[dict[str, ArmCopy]]:
    """A database for each arm that is a build, by arm, as its owner's; dropped when the block ends.

    The source is read in one snapshot, gently: all of it, or about so many `rows` of each table. `prepare` runs in the
    arm's tree, then its migration. Raises LabError.
    """
    source, _ = source_of(project)
    if not source or not builds:
        yield {}
        return
    drop_leftovers(stack, purpose)
    with ExitStack() as dropping:
        base = stack.database_name(f"{purpose}_source")
        where = source, stack.postgres_url, base, stack.postgres_programs
        made = (copy_sample(*where, rows) if rows else copy_database(*where)).require_whole()
        dropping.callback(drop_database, stack.postgres_url, base)
        made_for = {}
        for number, (arm, build) in enumerate(builds.items()):
            name = stack.database_name(f"{purpose}_{number}")
            dropping.callback(drop_database, stack.postgres_url, name)
            url = copy_guest_database(stack.postgres_url, name, made)
            made_for[arm] = ArmCopy(url, _prepare(project, stack, arm, build, url))
        yield made_for


def drop_leftovers(stack: Stack, purpose: str) -> None:
    """Drop what a killed command left of the same purpose: the copies before the source, whose role owns them."""
    left = [name for name in stack.databases() if name.startswith(f"{purpose}_")]
    for name in sorted(left, key=lambda name: name.endswith("_source")):
        drop_database(stack.postgres_url, stack.database_name(name))


def copied_from(source: str, stack: Stack) -> str:
    """From which major version of PostgreSQL to which an arm's database is copied, in words; "" without one."""
    if not source:
        return ""
    with connect(source) as theirs, connect(stack.postgres_url) as ours:
        one, other = (connection.info.server_version // 10_000 for connection in (theirs, ours))
    origin = f"databases copied from PostgreSQL {one}"
    return origin if one == other else f"{origin} to {other}, whose plans may be others"


def _prepare(project: Project, stack: Stack, arm: str, build: Build, url: str) -> dict[str, int]:
    """Run what the arm asks for, then VACUUM; the pages by table that were left to that."""
    ours = database_url(stack.postgres_url, urlsplit(url).path.lstrip("/"))
    # where it is not to be had, that is told as counters that are not available
    with connect(ours, autocommit=True) as connection, suppress(psycopg.Error):
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    if project.service.prepare:
        with hint_at_install(project, build.revision):
            run_command(project.service.prepare, build.tree, variables(project, url), f"prepare of arm {arm}")
    entry = project.arms.get(arm)
    if entry is not None and entry.migration:
        apply_file(url, build.tree / entry.migration)
    with connect(url, autocommit=True) as connection:
        left = pages_to_vacuum(connection)
        connection.execute("VACUUM ANALYZE")
        stop_autovacuum(connection)
    return left


def variables(project: Project, url: str) -> dict[str, str]:
    """What tells an arm's commands and service its database, in the scheme that the team's own URL has."""
    if project.database is None or not url:
        return {}
    _, scheme = source_of(project)
    return {project.database.variable: urlunsplit(urlsplit(url)._replace(scheme=scheme))}
