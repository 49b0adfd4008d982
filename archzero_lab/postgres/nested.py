"""Statements that run others: by triggers of what they change, by functions, views and policies that hold such."""

from __future__ import annotations

from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.sql_text import ast, nodes_of

_FUNCTIONS = """
SELECT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_language l ON l.oid = p.prolang
    WHERE p.proname = ANY($1) AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND l.lanname NOT IN ('c', 'internal'))
"""
_RELATIONS = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = ANY($1) AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND (c.relkind = 'v' OR c.relrowsecurity))
"""
_CHANGES = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)


def changes_rows(text: str) -> bool:
    """Whether a statement changes rows: run again in one transaction it would find its work done."""
    return any(isinstance(node, _CHANGES) for node in nodes_of(text))


def indirect_names(connection: Connection) -> set[str]:
    """Names of the views and functions by which a statement may read tables that it does not name."""
    rows = connection.execute(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'v'"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema') UNION SELECT proname FROM pg_proc p"
        " JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang"
        " WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND l.lanname NOT IN ('c', 'internal')"
    ).fetchall()
    return {str(name) for (name,) in rows}


def runs_others(connection: Connection, text: str) -> bool:
    """Whether a statement may run more than its plan shows.

    A change (its table may have triggers, foreign keys' among them); a call of a function that is not C's; a view or a
    table with policies, which may call such. By name: one too many costs a look, one too few a wrong verdict.
    """
    if changes_rows(text):
        return True
    nodes = nodes_of(text)
    called = [node.funcname[-1].sval for node in nodes if isinstance(node, ast.FuncCall)]
    named = [node.relname for node in nodes if isinstance(node, ast.RangeVar)]
    for query, names in ((_FUNCTIONS, called), (_RELATIONS, named)):
        if names and connection.execute(query, [names]).fetchone() == (True,):
            return True
    return False
