"""Databases that the lab makes: named with its own prefix, copied, labelled, dropped; never anybody else's."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.settings import DATABASE_PREFIX


def database_url(server_url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def lab_databases(server_url: str) -> dict[str, str]:
    """Names (with our prefix) and labels of the lab's databases on a server."""
    with connect(server_url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT datname, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database"
            " WHERE starts_with(datname, %s) ORDER BY 1",
            [DATABASE_PREFIX],
        ).fetchall()
    return dict(rows)


def create_database(server_url: str, name: str, *, template: str | None = None) -> str:
    """Create a database of ours, a copy of `template` where one is named, in place of an older one.

    Returns its URL. Raises DatabaseError where the role may not create databases.
    """
    _check_ours(name)
    drop_database(server_url, name)
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template or "template0")
    )
    if template:
        # a plain copy of files: for a database of any size faster than writing it through the log
        statement = sql.SQL("{} STRATEGY file_copy").format(statement)
    with connect(server_url, autocommit=True) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            raise DatabaseError(
                "the role may not create databases; run as a superuser: ALTER ROLE … CREATEDB"
            ) from None
        except psycopg.Error as error:
            raise DatabaseError(f"cannot create database {name}: {error.diag.message_primary}") from None
    return database_url(server_url, name)


def label_database(connection: Connection, name: str, label: str) -> None:
    """Write down what a database holds; an unlabelled one was not finished and is made anew."""
    _check_ours(name)
    connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(label)))


def drop_database(server_url: str, name: str) -> None:
    """Drop a database of ours, if it is there, ending its connections."""
    _check_ours(name)
    with connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _check_ours(name: str) -> None:
    if not name.startswith(DATABASE_PREFIX):
        raise DatabaseError(f"{name} does not begin with {DATABASE_PREFIX}: the lab touches only its own databases")
