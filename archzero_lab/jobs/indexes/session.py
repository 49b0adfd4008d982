"""A session in which plans differ by their indexes alone: parameters as $1, planned anew, nothing parallel."""

from __future__ import annotations

import psycopg

from archzero_lab.postgres.connection import Connection, connect

SETTINGS = {"jit": "off", "max_parallel_workers_per_gather": "0"}
"""Fixed while it is measured, so that plans differ by their indexes alone."""


def raw_connection(url: str) -> Connection:
    """A connection for the experiment. Raises DatabaseError where there is none to be had."""
    connection = connect(url, autocommit=True)
    connection.cursor_factory = psycopg.RawCursor  # type: ignore[assignment,unused-ignore]
    connection.prepare_threshold = None
    for name, value in SETTINGS.items():
        connection.execute("SELECT set_config($1, $2, false)", [name, value])
    return connection


def admin_connection(url: str) -> Connection:
    """A superuser's connection to a database whose schema may be a stranger's: it finds nothing but the catalog."""
    connection = raw_connection(url)
    connection.execute("SET search_path = pg_catalog")
    return connection
