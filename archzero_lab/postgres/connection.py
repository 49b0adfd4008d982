"""Connections: how a database is named (a URL, or libpq's key=value form), opened, and why that was refused."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from archzero_lab.errors import DatabaseError, SettingsError

Connection = psycopg.Connection[tuple[Any, ...]]

_SCHEMES = ("postgresql://", "postgres://")
_FORM = "give it as postgresql://USER@HOST:PORT/NAME"


def connection_parts(url: str) -> dict[str, Any]:
    """The parts of a URL or a key=value form, as libpq names them. Raises SettingsError where it is neither."""
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # what it says repeats a part of the text, a password perhaps
        raise SettingsError(f"that does not name a database; {_FORM}") from None


def require_url(url: str) -> str:
    """The URL with the scheme that every library takes; for a server on which other databases are reached too.

    Raises SettingsError for anything else, a key=value form included.
    """
    scheme = next((scheme for scheme in _SCHEMES if url.startswith(scheme)), None)
    if scheme is None:
        raise SettingsError(f"that is no database's URL; {_FORM}")
    connection_parts(url)
    return _SCHEMES[0] + url.removeprefix(scheme)


_NOT_YET_UP = ("refused", "No such file", "the database system is", "timeout expired", "closed the connection")


def reason_of(error: psycopg.OperationalError) -> str:
    """Why a connection was not made, in a few words of the server's or the network's."""
    # lines that begin with a tab are libpq's hints; of several attempts the last tells as much as any
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return lines[-1].rpartition("failed: ")[2].strip() if lines else type(error).__name__


def is_not_yet_up(error: psycopg.OperationalError) -> bool:
    """Whether a later attempt may succeed without anybody changing anything: nothing listens yet, or it starts."""
    return any(text in str(error) for text in _NOT_YET_UP)


def connect_error(url: str, error: psycopg.OperationalError) -> DatabaseError:
    """What is told where a connection was not made."""
    reason = reason_of(error)
    if "unsupported startup parameter" in reason or "pgbouncer" in reason.lower():
        return DatabaseError(f"cannot connect to {url}: {reason}; that is a pooler: give the server's own URL")
    return DatabaseError(f"cannot connect to {url}: {reason}; check the URL and that the server runs")


def require_no_pooler(connection: Connection) -> None:
    """Raise DatabaseError where a pooler such as PgBouncer stands between.

    It gives a key of its own to cancel by, not the backend's number; sessions behind it are anybody's, so what the lab
    asks of one (LISTEN, its settings, databases copied from each other) cannot be had.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    if row is not None and row[0] != connection.info.backend_pid:
        where = f"{connection.info.host}:{connection.info.port}"
        raise DatabaseError(f"{where} is a pooler in front of PostgreSQL; give the server's own URL")


def connect(url: str, *, autocommit: bool = False) -> Connection:
    """A plain connection, by URL or key=value form.

    Raises DatabaseError, without the password, where there is none to be had; SettingsError for neither form.
    """
    connection_parts(url)
    try:
        return psycopg.connect(
            url, autocommit=autocommit, connect_timeout=10, application_name="archzero-lab", client_encoding="utf8"
        )
    except psycopg.OperationalError as error:
        raise connect_error(url, error) from None


def merged_parameters(url: str, ours: dict[str, Any]) -> dict[str, Any]:
    """Our parameters beside a URL's own, which win: of two options the later counts."""
    given = conninfo_to_dict(url)
    merged = {name: value for name, value in ours.items() if name not in given}
    if "options" in given:
        merged["options"] = f"{ours['options']} {given['options']}"
    return merged
