"""Sessions in which plans differ by their indexes alone: parameters as $1, planned anew, nothing parallel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import psycopg

from archzero_lab.errors import SettingsError
from archzero_lab.postgres.connection import Connection, connect

SETTINGS = {"jit": "off", "max_parallel_workers_per_gather": "0"}
"""Fixed while it is measured, so that plans differ by their indexes alone."""


def raw_connection(url: str, settings: Mapping[str, str] | None = None) -> Connection:
    """A connection for the experiment, with settings of the user's. Raises DatabaseError where there is none to be had,
    SettingsError for a setting that it does not take.
    """
    connection = as_asked(url, {})
    for name, value in SETTINGS.items():
        connection.execute("SELECT set_config($1, $2, false)", [name, value])
    _set(connection, settings or {})
    return connection


def as_asked(url: str, settings: Mapping[str, str]) -> Connection:
    """A connection that plans as the server does by itself, but for the user's settings. Raises as raw_connection."""
    connection = connect(url, autocommit=True)
    connection.cursor_factory = psycopg.RawCursor  # type: ignore[assignment,unused-ignore]
    connection.prepare_threshold = None
    _set(connection, settings)
    return connection


def _set(connection: Connection, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        try:
            connection.execute("SELECT set_config($1, $2, false)", [name, value])
        except psycopg.Error as error:
            connection.close()
            raise SettingsError(f"--set {name}: {error.diag.message_primary}") from None


@contextmanager
def role_sessions(urls: Mapping[str, str], settings: Mapping[str, str]) -> Iterator[dict[str, Connection]]:
    """A session for each role, by its name."""
    with ExitStack() as closing:
        yield {role: closing.enter_context(raw_connection(url, settings)) for role, url in urls.items()}


def admin_connection(url: str) -> Connection:
    """A superuser's connection to a database whose schema may be a stranger's: it finds nothing but the catalog."""
    connection = raw_connection(url)
    connection.execute("SET search_path = pg_catalog")
    return connection
