"""The server that a copy of somebody's database runs on: of the source's own version where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.postgres.connection import connect, require_no_pooler, require_url
from archzero_lab.postgres.databases import is_superuser
from archzero_lab.servers.fetched_postgres import fetched_programs
from archzero_lab.servers.postgres_server import (
    MINIMUM_VERSION,
    embedded_programs,
    major_version,
    programs_of_version,
    start_postgres,
)
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import STATE


@dataclass(frozen=True)
class CopyServer:
    """`url` is its superuser's, `programs` hold pg_dump and pg_restore; `ours`: its files are this machine's."""

    url: str
    programs: Path
    ours: bool = True


@dataclass(frozen=True)
class WantedServer:
    """What the user asked for: a major version (0: the source's), or a scratch server of their own."""

    version: int = 0
    url: str = ""


_ANY = WantedServer()


@contextmanager
def copy_server(stack: Stack, source_url: str, wanted: WantedServer = _ANY) -> Iterator[CopyServer]:
    """A server for copies of a database, stopped when the block ends where it was started for it.

    The user's own; else one of the version asked for, fetched where the machine has none; else one of the source's,
    where the machine has one; else the stack's. Raises LabError.
    """
    if wanted.url:
        yield _scratch(wanted.url)
        return
    if not stack.ours:
        raise LabError(
            "a copy is hurt: indexes are hidden and dropped; unset ARCHZERO_DATABASE_URL, or name a scratch server with"
            " --copy-on"
        )
    with connect(source_url) as source:
        theirs = source.info.server_version // 10_000
    version = wanted.version or theirs
    if version < theirs:
        raise SettingsError(
            f"--server-version {version}: the database is on PostgreSQL {theirs}, whose dump an older one does not take"
        )
    here = major_version(stack.postgres_programs)
    programs = None if version == here or version < MINIMUM_VERSION else programs_of_version(version)
    tools = programs or stack.postgres_programs
    if wanted.version and version != here and programs is None:
        folder = server_home(STATE) / "programs"
        programs, tools = fetched_programs(version, folder), embedded_programs()
    if programs is None:
        yield CopyServer(stack.postgres_url, stack.postgres_programs)
        return
    server = start_postgres(programs, server_home(STATE), stack.registry, name="copy-postgres")
    try:
        yield CopyServer(server.url, tools)
    finally:
        stack.registry.stop(server.record)


def _scratch(url: str) -> CopyServer:
    url = require_url(url)
    with connect(url) as connection:
        require_no_pooler(connection)
        version = connection.info.server_version // 10_000
        if version < MINIMUM_VERSION:
            raise SettingsError(f"--copy-on: PostgreSQL {version} is too old; {MINIMUM_VERSION} or newer")
        if not is_superuser(connection):
            raise SettingsError("--copy-on wants a superuser: indexes are hidden in the catalog of the copy")
    return CopyServer(url, programs_of_version(version) or embedded_programs(), ours=False)
