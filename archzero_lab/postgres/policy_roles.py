"""Roles that row-level security binds: made on a copy as the source has them, so that statements are run as they."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.copied_roles import is_copied, mark_copied

_BOUND = """
SELECT r.rolname FROM pg_roles r WHERE r.rolname = ANY(%s::text[]) AND NOT r.rolsuper AND NOT r.rolbypassrls
    AND EXISTS (SELECT FROM pg_class c WHERE c.relrowsecurity AND c.relkind IN ('r', 'p')
        AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE')))
"""
_MEMBER_OF = """
WITH RECURSIVE of AS (
    SELECT oid FROM pg_roles WHERE rolname = %s
    UNION SELECT m.roleid FROM of JOIN pg_auth_members m ON m.member = of.oid
)
SELECT r.rolname FROM of JOIN pg_roles r USING (oid) WHERE r.rolname <> %s
"""
_SETTINGS = """
SELECT s.setting FROM pg_db_role_setting d CROSS JOIN LATERAL unnest(d.setconfig) AS s(setting)
WHERE d.setrole = (SELECT oid FROM pg_roles WHERE rolname = %s)
    AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY d.setdatabase
"""
_SCHEMAS = """
SELECT nspname FROM pg_namespace WHERE pg_get_userbyid(nspowner) = current_user
"""
_OWN = """
SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE pg_get_userbyid(c.relowner) = current_user AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""


def bound_roles(source: Connection, names: Collection[str]) -> set[str]:
    """Those of the named roles that some policy binds: no superuser, no BYPASSRLS, not the tables' owner."""
    return {str(name) for (name,) in source.execute(_BOUND, [list(names)]).fetchall()}


def is_role(source: Connection, name: str) -> bool:
    """Whether the server has a role of that name."""
    return source.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is not None


def make_bound_role(source: Connection, admin: Connection, url: str, name: str) -> str:
    """Make a role on the copy at `url`, which `admin` is connected to as a superuser; the URL to connect as it.

    It is a member of the copied roles that the source's is, has the settings of its own, and may read and write every
    table; policies bind it, since it owns nothing. It goes with the copy. Raises DatabaseError where the server has a
    role of that name already: what that may do there is its own.
    """
    role, password = sql.Identifier(name), secrets.token_urlsafe(24)
    if is_role(admin, name):
        if not is_copied(admin, name):
            raise DatabaseError(f"the copy's server has a role {name} of its own: no statement is measured as that")
    else:
        admin.execute(sql.SQL("CREATE ROLE {}").format(role))
        mark_copied(admin, name)
    admin.execute(
        sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD {}").format(
            role, sql.Literal(password)
        )
    )
    for (group,) in source.execute(_MEMBER_OF, [name, name]).fetchall():
        if is_copied(admin, group):
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), role))
    parts = urlsplit(url)
    database = sql.Identifier(parts.path.lstrip("/"))
    for (setting,) in source.execute(_SETTINGS, [name]).fetchall():
        key, _, value = str(setting).partition("=")
        if key == "search_path" or "." in key:  # a policy's own words; the planner's are those of the whole copy
            _give_setting(admin, role, database, key, value)
    return urlunsplit(parts._replace(netloc=f"{quote(name, safe='')}:{password}@{parts.netloc.rpartition('@')[2]}"))


def _give_setting(admin: Connection, role: sql.Identifier, database: sql.Identifier, key: str, value: str) -> None:
    name = sql.SQL(".").join(map(sql.Identifier, key.split(".")))
    # a list is given as such: in one pair of quotes it were one schema's name
    parts = [part.strip().strip('"') for part in value.split(",")] if key == "search_path" else [value]
    given = sql.SQL(", ").join(map(sql.Literal, parts))
    try:
        admin.execute(sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(role, database, name, given))
    except psycopg.Error:
        return  # a setting of a library that this server has not


def grant_all(owner: Connection, names: Collection[str]) -> None:
    """Let roles read and write every table and sequence that the connection's role owns; functions are anybody's."""
    relations = owner.execute(_OWN).fetchall()
    schemas = owner.execute(_SCHEMAS).fetchall()
    for role in map(sql.Identifier, names):
        for (schema,) in schemas:
            owner.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), role))
        for schema, name, kind in relations:
            what = sql.SQL("SEQUENCE" if kind == "S" else "TABLE")
            owner.execute(sql.SQL("GRANT ALL ON {} {} TO {}").format(what, sql.Identifier(schema, name), role))
