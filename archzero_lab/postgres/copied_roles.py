"""Roles that a copied schema names, in its policies: made without login or rights, dropped with the last copy."""

from __future__ import annotations

from psycopg import sql

from archzero_lab.postgres.connection import Connection

_MARK = "named in a copy that archzero-lab made"
_NAMED = """
SELECT DISTINCT r.rolname FROM pg_policy p CROSS JOIN LATERAL unnest(p.polroles) AS named(oid)
JOIN pg_roles r ON r.oid = named.oid
"""
_UNUSED = """
SELECT r.rolname FROM pg_roles r JOIN pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_authid'::regclass
WHERE d.description = %s
    AND NOT EXISTS (SELECT FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid)
"""


def copy_roles(source: Connection, server: Connection) -> None:
    """Make the roles that the source's policies are for, where the server has none of that name. As a superuser."""
    known = {name for (name,) in server.execute("SELECT rolname FROM pg_roles").fetchall()}
    for (name,) in source.execute(_NAMED).fetchall():
        if name not in known and not name.startswith("pg_"):
            role = sql.Identifier(name)
            server.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
            mark_copied(server, name)


def mark_copied(server: Connection, name: str) -> None:
    """Write down that a role was made for a copy, and goes with the last one."""
    server.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(name), sql.Literal(_MARK)))


def is_copied(server: Connection, name: str) -> bool:
    """Whether a role was made for a copy."""
    row = server.execute(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [name]
    ).fetchone()
    return row == (_MARK,)


def drop_copied_roles(server: Connection) -> None:
    """Drop those that no database names any more."""
    for (name,) in server.execute(_UNUSED, [_MARK]).fetchall():
        server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
