"""Databases that the lab makes: named with its own prefix, copied, labelled, dropped; never anybody else's."""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.postgres.copied_roles import drop_copied_roles
from archzero_lab.postgres.locales import Locale
from archzero_lab.settings import DATABASE_PREFIX

_GRANTS_PARAMETERS, _DROPS_BY_FORCE = 150_000, 130_000
"""Versions from which an ordinary role may be allowed to set a parameter, and a database is dropped while in use."""


def database_url(server_url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def on_server(url: str, server_url: str) -> str:
    """A database's URL, by the same role, on another server of its cluster."""
    parts = urlsplit(url)
    place = urlsplit(server_url).netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{place}"))


def same_database(url: str, replica_url: str) -> str:
    """A database's URL on a replica that somebody named: by that one's role and options, where it gives them."""
    parts, given = urlsplit(url), urlsplit(replica_url)
    credentials, _, place = given.netloc.rpartition("@")
    credentials = credentials or parts.netloc.rpartition("@")[0]
    return urlunsplit(given._replace(
        scheme=parts.scheme, netloc=f"{credentials}@{place}" if credentials else place, path=parts.path,
        query=given.query or parts.query,
    ))  # fmt: skip


def let_watch(url: str, role: str) -> None:
    """Let a role see whether a replica streams, and on which timeline. Raises DatabaseError."""
    with connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(sql.Identifier(role)))


def lab_databases(server_url: str) -> dict[str, str]:
    """Names (with our prefix) and labels of the lab's databases on a server."""
    with connect(server_url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT datname, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database"
            " WHERE starts_with(datname, %s) ORDER BY 1",
            [DATABASE_PREFIX],
        ).fetchall()
    return dict(rows)


def create_database(server_url: str, name: str, *, template: str | None = None, locale: Locale | None = None) -> str:
    """Create a database of ours, a copy of `template` where one is named, in place of an older one.

    With a locale, where the server has that. Returns its URL. Raises DatabaseError where the role may not create
    databases.
    """
    _check_ours(name)
    drop_database(server_url, name)
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template or "template0")
    )
    if template:
        # a plain copy of files: for a database of any size faster than writing it through the log
        statement = sql.SQL("{} STRATEGY file_copy").format(statement)
    else:
        # whatever the cluster was made with: cards hold any text
        statement = sql.SQL("{} ENCODING 'UTF8'").format(statement)
    with connect(server_url, autocommit=True) as connection:
        if locale is not None and _create_with(connection, name, locale):
            return database_url(server_url, name)
        if not template and not _is_utf8(connection):
            # its locale is of another encoding, too
            statement = sql.SQL("{} LC_COLLATE 'C' LC_CTYPE {}").format(statement, _utf8_locale(connection))
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            raise DatabaseError(
                "the role may not create databases; run as a superuser: ALTER ROLE … CREATEDB"
            ) from None
        except psycopg.Error as error:
            raise DatabaseError(f"cannot create database {name}: {error.diag.message_primary}") from None
    return database_url(server_url, name)


def _create_with(connection: Connection, name: str, locale: Locale) -> bool:
    """Whether the server could make the database with that locale; it may lack it, or ICU as a whole."""
    try:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(
                sql.Identifier(name), locale.clause(connection.info.server_version // 10_000)
            )
        )
    except psycopg.Error:  # another reason than its locale is told where it is tried without
        return False
    return True


def _is_utf8(connection: Connection) -> bool:
    row = connection.execute("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'template0'")
    return row.fetchone() == ("UTF8",)


def _utf8_locale(connection: Connection) -> sql.Literal:
    """C.UTF-8 where the server's machine has it, which knows letters beyond ASCII; else C."""
    known = connection.execute("SELECT collcollate FROM pg_collation WHERE collcollate ILIKE 'C.UTF%8'").fetchone()
    return sql.Literal("C.UTF-8" if known else "C")


def is_superuser(connection: Connection) -> bool:
    """Whether the connection's role is one."""
    return connection.execute("SELECT current_setting('is_superuser')").fetchone() == ("on",)


def create_guest_database(server_url: str, name: str, locale: Locale | None = None) -> str:
    """Create a database of ours for somebody else's schema; the URL of its owner, an ordinary role made for it alone.

    With the locale where the server has it; `locales.read_locale` tells which it has.

    Functions, triggers and index expressions of a stranger run there, so nothing does as a superuser: the role is none,
    and runs no program and reads no file of the server's. It goes with the database. Where our own role may make no
    roles it is no superuser either, and owns the database itself. Raises DatabaseError.
    """
    url = create_database(server_url, name, locale=locale)
    role, password = sql.Identifier(name), secrets.token_urlsafe(24)
    with connect(server_url, autocommit=True) as connection:
        if not is_superuser(connection):
            return url
        _drop_guest(connection, name)
        statements = [
            sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}").format(
                role, sql.Literal(password)
            ),
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(role, role),
        ]
        if connection.info.server_version >= _GRANTS_PARAMETERS:
            # writes are measured without triggers and foreign keys
            statements.append(sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {}").format(role))
        for statement in statements:
            connection.execute(statement)
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.netloc.rpartition('@')[2]}"))


def service_url(url: str) -> str:
    """The URL of an ordinary role that a service works with on one of our databases; made where it is not yet there.

    It may read and write every table and make none; it goes with the database. `url` is that of the server's superuser,
    from whose password the role's own is made: every service of one database has the same. Raises DatabaseError.
    """
    parts = urlsplit(url)
    name = parts.path.lstrip("/")
    _check_ours(name)
    password = hmac.new((parts.password or "").encode(), f"service of {name}".encode(), "sha256").hexdigest()
    role = sql.Identifier(name)
    with connect(url) as connection:  # one transaction: services are started side by side
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [name])
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None:
            attributes = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
            connection.execute(sql.SQL("CREATE ROLE {} " + attributes).format(role))
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
        for kind in ("TABLES", "SEQUENCES"):
            what = sql.SQL(kind)
            connection.execute(sql.SQL("GRANT ALL ON ALL {} IN SCHEMA public TO {}").format(what, role))
            # what a later migration makes
            connection.execute(sql.SQL("ALTER DEFAULT PRIVILEGES GRANT ALL ON {} TO {}").format(what, role))
    return urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.netloc.rpartition('@')[2]}"))


def copy_guest_database(server_url: str, name: str, guest_url: str) -> str:
    """A copy of a guest's database under another name, of the same owner; its URL as that owner.

    Drop it before the first, with which the owner goes. Raises DatabaseError.
    """
    parts = urlsplit(guest_url)
    template = parts.path.lstrip("/")
    create_database(server_url, name, template=template)
    with connect(server_url, autocommit=True) as connection:
        owner = sql.Identifier(parts.username or template)
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), owner))
    return urlunsplit(parts._replace(path=f"/{name}"))


def _drop_guest(connection: Connection, name: str) -> None:
    role = sql.Identifier(name)
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is not None:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(role))  # what it was granted on the server
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


def label_database(connection: Connection, name: str, label: str) -> None:
    """Write down what a database holds; an unlabelled one was not finished and is made anew."""
    _check_ours(name)
    connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(label)))


def drop_database(server_url: str, name: str) -> None:
    """Drop a database of ours, if it is there, ending its connections; the role made for it too."""
    _check_ours(name)
    with connect(server_url, autocommit=True) as connection:
        forced = connection.info.server_version >= _DROPS_BY_FORCE
        if not forced:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        drop = sql.SQL("DROP DATABASE IF EXISTS {}{}").format(
            sql.Identifier(name), sql.SQL(" WITH (FORCE)" if forced else "")
        )
        connection.execute(drop)
        _drop_guest(connection, name)
        drop_copied_roles(connection)


def _check_ours(name: str) -> None:
    if not name.startswith(DATABASE_PREFIX):
        raise DatabaseError(f"{name} does not begin with {DATABASE_PREFIX}: the lab touches only its own databases")
