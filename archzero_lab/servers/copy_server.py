"""The server that a copy of somebody's database runs on: of the source's own version where there is one."""

from __future__ import annotations

import hashlib
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
    """What the user asked for: a major version (0: the source's), or a scratch server of their own.

    `fetched`: npm's package of that version, whatever the machine has; `programs`: the bin folder of a server.
    """

    version: int = 0
    url: str = ""
    fetched: bool = False
    programs: Path | None = None


_ANY = WantedServer()


@contextmanager
def copy_server(
    stack: Stack, source_url: str, wanted: WantedServer = _ANY, *, oldest: int = MINIMUM_VERSION, side: str = ""
) -> Iterator[CopyServer]:
    """A server for copies of a database, stopped when the block ends where it was started for it.

    The user's own; else the programs or the version asked for, fetched where the machine has none; else one of the
    source's version, where the machine has one; else the stack's. `side` tells two of them apart that are up together.
    Raises LabError.
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
    version = wanted.version or (major_version(wanted.programs) if wanted.programs else theirs)
    if version < theirs:
        raise SettingsError(
            f"--server-version {version}: the database is on PostgreSQL {theirs}, whose dump an older one does not take"
        )
    if (wanted.version or wanted.programs) and version < oldest:
        raise SettingsError(f"PostgreSQL {version} is too old; {oldest} or newer")
    programs, packaging = _programs(stack, version, wanted, oldest)
    if programs is None:
        yield CopyServer(stack.postgres_url, stack.postgres_programs)
        return
    name = "-".join(part for part in ("copy-postgres", side, packaging) if part)
    server = start_postgres(programs, server_home(STATE), stack.registry, name=name)
    try:
        # older tools do not read what newer ones wrote
        yield CopyServer(server.url, programs if (programs / "pg_dump").exists() else embedded_programs())
    finally:
        stack.registry.stop(server.record)


def _programs(stack: Stack, version: int, wanted: WantedServer, oldest: int) -> tuple[Path | None, str]:
    """The programs of a server to start, None for the stack's own server; and a mark of another packaging than usual.

    A cluster that one packaging made may not be read by another: each has its own.
    """
    if wanted.programs is not None:
        return wanted.programs, hashlib.sha256(str(wanted.programs).encode()).hexdigest()[:8]
    here = version == major_version(stack.postgres_programs)
    programs = None if here or version < oldest else programs_of_version(version)
    if wanted.fetched or (wanted.version and not here and programs is None):
        return fetched_programs(version, server_home(STATE) / "programs"), "npm"
    return programs, ""


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
