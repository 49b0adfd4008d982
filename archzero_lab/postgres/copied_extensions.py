"""Extensions of a database that is copied: made by us before anything of its own, by name, from a list that may be.

An extension's files are our server's, but what it can do is not an ordinary role's: so none that runs programs, reads
files or reaches other servers.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import connect

_MAY = frozenset({
    "amcheck", "bloom", "earthdistance", "hll", "intagg", "ip4r", "pg_buffercache", "pg_stat_statements", "pg_trgm",
    "pg_visibility", "pgstattuple", "postgis", "postgis_topology", "rum", "sslinfo", "vector", "xml2",
})  # fmt: skip
"""Beside those that PostgreSQL itself calls trusted."""


def copy_extensions(source_url: str, admin_url: str, owner: str) -> set[str]:
    """Make the source's extensions in an empty database of ours; the schemas that this made.

    Raises DatabaseError for one that our server has not, or that is not made for a stranger's database.
    """
    with connect(source_url, autocommit=True) as source:
        wanted = source.execute(
            "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
            " WHERE e.extname <> 'plpgsql' ORDER BY e.oid"
        ).fetchall()
    made = set()
    with connect(admin_url, autocommit=True) as connection:
        connection.execute("SET search_path = pg_catalog")
        found = connection.execute("SELECT name, bool_or(trusted) FROM pg_available_extension_versions GROUP BY 1")
        trusted: dict[str, bool] = dict(found.fetchall())
        for name, schema in wanted:
            if name not in trusted:
                raise DatabaseError(f"the database uses the extension {name}, which the lab's server has not")
            if not trusted[name] and name not in _MAY:
                raise DatabaseError(
                    f"the database uses the extension {name}, which is not made for a copy: it may run programs, read "
                    "files or reach other servers"
                )
            if schema not in ("public", "pg_catalog"):
                connection.execute(
                    sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(
                        sql.Identifier(schema), sql.Identifier(owner)
                    )
                )
                made.add(schema)
            try:
                connection.execute(
                    sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE").format(
                        sql.Identifier(name), sql.Identifier(schema)
                    )
                )
            except psycopg.Error as error:
                raise DatabaseError(f"extension {name} on the copy: {error.diag.message_primary or error}") from None
    return made
