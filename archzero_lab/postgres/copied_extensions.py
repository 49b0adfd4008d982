"""Extensions of a database that is copied: made by us before anything of its own, by name, from a list that may be.

An extension's files are our server's, but what it can do is not an ordinary role's: so none that runs programs, reads
files or reaches other servers.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.restoring import LeftOut

_MAY = frozenset({
    "amcheck", "bloom", "earthdistance", "hll", "intagg", "ip4r", "pg_buffercache", "pg_stat_statements", "pg_trgm",
    "pg_visibility", "pgstattuple", "postgis", "postgis_topology", "rum", "sslinfo", "vector", "xml2",
})  # fmt: skip
"""Beside those that PostgreSQL itself calls trusted."""
_TRUSTED_SINCE_13 = frozenset({
    "btree_gin", "btree_gist", "citext", "cube", "dict_int", "fuzzystrmatch", "hstore", "intarray", "isn", "lo",
    "ltree", "pgcrypto", "pg_trgm", "seg", "tablefunc", "tcn", "tsm_system_rows", "tsm_system_time", "unaccent",
    "uuid-ossp",
})  # fmt: skip
"""PostgreSQL 12 calls none so."""


def copy_extensions(source: Connection, copy: Connection, owner: str) -> tuple[set[str], list[LeftOut]]:
    """Make the source's extensions in an empty database of ours, as its superuser.

    The schemas that this made, and the extensions left out: that our server has not, or that are not made for a
    stranger's database.
    """
    wanted = source.execute(
        "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname <> 'plpgsql' ORDER BY e.oid"
    ).fetchall()
    made: set[str] = set()
    left_out: list[LeftOut] = []
    copy.execute("SET search_path = pg_catalog")
    condition = "trusted" if copy.info.server_version >= 130_000 else "name = ANY(%s)"
    available = copy.execute(
        f"SELECT name, bool_or({condition}) FROM pg_available_extension_versions GROUP BY 1".encode(),
        None if condition == "trusted" else [list(_TRUSTED_SINCE_13)],
    )
    trusted: dict[str, bool] = dict(available.fetchall())
    for name, schema in wanted:
        if name not in trusted:
            left_out.append(LeftOut("EXTENSION", name, "the copy's server has it not; install it there or --copy-on"))
            continue
        if not trusted[name] and name not in _MAY:
            why = "not made for a copy: it may run programs, read files or reach other servers"
            left_out.append(LeftOut("EXTENSION", name, why))
            continue
        if schema not in ("public", "pg_catalog"):
            copy.execute(
                sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(
                    sql.Identifier(schema), sql.Identifier(owner)
                )
            )
            made.add(schema)
        try:
            copy.execute(
                sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE").format(
                    sql.Identifier(name), sql.Identifier(schema)
                )
            )
        except psycopg.Error as error:
            left_out.append(LeftOut("EXTENSION", name, error.diag.message_primary or str(error)))
    return made, left_out
