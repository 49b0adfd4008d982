"""What a statement reads or writes, by its parse tree: whole tables, or one row of one by its primary key."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pglast
from pglast import ast, enums

from archzero_lab.postgres.result_cache.schema import EVERYTHING, Schema, Table

_MOMENTS = {"now", "today", "tomorrow", "yesterday"}
_OF_THE_SESSION = {
    "now", "transaction_timestamp", "statement_timestamp", "current_setting", "current_schema", "current_schemas",
    "current_database", "inet_client_addr", "inet_client_port", "age", "txid_current_snapshot",
    "pg_current_snapshot", "pg_backend_pid", "has_table_privilege", "pg_table_is_visible", "row_security_active",
}  # fmt: skip
"""Stable functions of PostgreSQL whose value is not the same a moment later, or on another connection."""


@dataclass(frozen=True)
class Row:
    """The row of a table whose primary key is the parameter of that number, from 0."""

    table: str
    parameter: int


@dataclass(frozen=True)
class Effects:
    """What a statement does. `cacheable`: nothing but what it names decides its result.

    `reads` are tables; `row` is given where one row of one table is all that is read. `writes` are tables of which any
    row may be written, `inserts` those that only gain rows, `rows` single rows. EVERYTHING stands for the unknown.
    `session`: what follows on the connection may not be the same as elsewhere (SET, temporary tables).
    """

    cacheable: bool = False
    reads: frozenset[str] = frozenset()
    row: Row | None = None
    writes: frozenset[str] = frozenset()
    inserts: frozenset[str] = frozenset()
    rows: tuple[Row, ...] = ()
    session: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is written."""
        return bool(self.writes or self.inserts or self.rows)


_NOTHING = Effects()
_UNKNOWN = Effects(writes=frozenset({EVERYTHING}))


@dataclass
class _Seen:
    tables: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    inserts: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    queries: frozenset[str] = frozenset()
    decided: bool = True
    unknown: bool = False


def effects_of(sql: str, schema: Schema) -> Effects:
    """The effects of a text of SQL with $1, $2, … for its parameters, in a database of that schema."""
    try:
        statements = pglast.parse_sql(sql)
    except pglast.Error:
        return _UNKNOWN  # a newer grammar than ours: PostgreSQL may well take it
    if len(statements) != 1:
        return _UNKNOWN if statements else _NOTHING
    statement: Any = statements[0].stmt
    if _is(statement, ast.TransactionStmt):
        if "PREPARE" in enums.TransactionStmtKind(int(statement.kind)).name:
            return _UNKNOWN  # two phases: what was written comes later, from whoever commits it
        return Effects(session=bool(statement.options))  # another isolation
    if _is(statement, ast.VariableShowStmt, ast.ExplainStmt, ast.DeallocateStmt):
        explained = getattr(statement, "options", None) if _is(statement, ast.ExplainStmt) else None
        return _UNKNOWN if explained else _NOTHING  # EXPLAIN ANALYZE runs what it explains
    if _is(statement, ast.VariableSetStmt):
        return Effects(session=True)
    if _is(statement, ast.CopyStmt):
        return _copied(statement, schema)
    if not _is(statement, ast.SelectStmt, ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt):
        return Effects(writes=frozenset({EVERYTHING}), session=True)
    queries = frozenset(node.ctename for node in _nodes(statement) if _is(node, ast.CommonTableExpr))
    seen = _Seen(queries=queries)
    for node in _nodes(statement):
        _look_at(node, schema, seen)
    if seen.unknown:
        return _UNKNOWN
    if seen.writes or seen.inserts or seen.rows:
        return Effects(writes=frozenset(seen.writes), inserts=frozenset(seen.inserts), rows=tuple(seen.rows))
    if not seen.decided or not seen.tables or not _is(statement, ast.SelectStmt):
        return _NOTHING
    return Effects(cacheable=True, reads=frozenset(seen.tables), row=_row_read(statement, schema, seen.tables))


def resolve_views(schema: Schema) -> None:
    """Find out which tables the views of a schema read; one that says otherwise each time is never kept."""
    left = dict(schema.views)
    while left:
        known = {name: found for name, text in left.items() if (found := effects_of(text, schema)).cacheable}
        for name in list(known or left):
            reads = known[name].reads if name in known else frozenset[str]()
            schema.tables[name] = Table(
                name, reads, name in known, None, frozenset({EVERYTHING}), frozenset(), frozenset(), frozenset()
            )  # fmt: skip
            del left[name]


def _copied(statement: Any, schema: Schema) -> Effects:
    if not statement.is_from:
        return _NOTHING
    table = schema.table(statement.relation.schemaname, statement.relation.relname)
    return Effects(inserts=table.family, writes=table.by_triggers) if table else _UNKNOWN


def _look_at(node: Any, schema: Schema, seen: _Seen) -> None:
    if _is(node, ast.RangeVar):
        table = schema.table(node.schemaname, node.relname)
        if table is not None:
            seen.tables |= table.reads
            seen.decided = seen.decided and table.plain
        elif node.schemaname is not None or node.relname not in seen.queries:
            seen.decided = False  # made after the schema was read, or temporary
    elif _is(node, ast.InsertStmt):
        _write(node.relation, schema, seen, only_new=node.onConflictClause is None)
    elif _is(node, ast.UpdateStmt, ast.DeleteStmt):
        table = schema.table(node.relation.schemaname, node.relation.relname)
        row = _row_of(node.whereClause, table, node.relation) if table else None
        sets = {target.name for target in getattr(node, "targetList", None) or ()}
        others = table.updates if table and _is(node, ast.UpdateStmt) else table.cascades if table else frozenset()
        if table and row and table.key not in sets and table.name not in others:
            seen.rows.append(row)
            seen.writes |= others | table.by_triggers
        else:
            _write(node.relation, schema, seen)
    elif _is(node, ast.MergeStmt):
        _write(node.relation, schema, seen)
    elif _is(node, ast.SelectStmt):
        if node.intoClause is not None:
            seen.unknown = True
        seen.decided = seen.decided and not node.lockingClause
    elif _is(node, ast.FuncCall):
        _call(node, schema, seen)
    elif _is(node, ast.SQLValueFunction, ast.RangeTableSample, ast.CurrentOfExpr):
        seen.decided = False
    elif _is(node, ast.String) and node.sval.strip().lower() in _MOMENTS:
        seen.decided = False  # 'now'::timestamp


def _write(relation: Any, schema: Schema, seen: _Seen, *, only_new: bool = False) -> None:
    table = schema.table(relation.schemaname, relation.relname)
    if table is None:
        seen.unknown = True
    elif only_new and EVERYTHING not in table.family:
        seen.inserts |= table.family
        seen.writes |= table.by_triggers
    else:
        seen.writes |= table.family | table.cascades | table.by_triggers


def _call(node: Any, schema: Schema, seen: _Seen) -> None:
    names = [part.sval for part in node.funcname]
    fixed = schema.is_fixed(names[0] if len(names) > 1 else None, names[-1])
    if fixed is None:
        seen.unknown = True  # it may write whatever it likes
    elif not fixed or names[-1] in _OF_THE_SESSION:
        seen.decided = False


def _row_read(statement: Any, schema: Schema, tables: set[str]) -> Row | None:
    """The one row that a statement without joins, sub-queries or aggregates of others reads."""
    sources: Any = statement.fromClause or ()
    if len(sources) != 1 or not _is(sources[0], ast.RangeVar) or statement.withClause or statement.op:
        return None
    table = schema.table(sources[0].schemaname, sources[0].relname)
    if table is None or tables != {table.name} or sum(_is(node, ast.RangeVar) for node in _nodes(statement)) > 1:
        return None
    return _row_of(statement.whereClause, table, sources[0])


def _row_of(where: Any, table: Table, relation: Any) -> Row | None:
    """The row that a condition confines a table to: its primary key equals a parameter, whatever else must hold."""
    if table.key is None:
        return None
    for condition in _all_of(where):
        if not (_is(condition, ast.A_Expr) and condition.kind == enums.A_Expr_Kind.AEXPR_OP):
            continue
        if [part.sval for part in condition.name] != ["="]:
            continue
        for one, other in ((condition.lexpr, condition.rexpr), (condition.rexpr, condition.lexpr)):
            if _is_key(one, table, relation) and _is(other := _uncast(other), ast.ParamRef):
                return Row(table.name, other.number - 1)
    return None


def _all_of(where: Any) -> Iterator[Any]:
    if _is(where, ast.BoolExpr) and where.boolop == enums.BoolExprType.AND_EXPR:
        for part in where.args:
            yield from _all_of(part)
    elif where is not None:
        yield where


def _is_key(node: Any, table: Table, relation: Any) -> bool:
    if not _is(node, ast.ColumnRef) or not all(_is(part, ast.String) for part in node.fields):
        return False
    *of, column = [part.sval for part in node.fields]
    called = relation.alias.aliasname if relation.alias else relation.relname
    return column == table.key and of in ([], [called])


def _uncast(node: Any) -> Any:
    return node.arg if _is(node, ast.TypeCast) else node


def _is(node: Any, *kinds: type) -> bool:
    """isinstance, after which a type checker does not ask of each field whether it is None: a parsed text has them."""
    return isinstance(node, kinds)


def _nodes(node: Any) -> Iterator[Any]:
    """Each node of a tree, itself first."""
    if _is(node, ast.Node):
        yield node
        for name in node.__slots__:
            yield from _nodes(getattr(node, name, None))
    elif isinstance(node, tuple | list):
        for part in node:
            yield from _nodes(part)


@functools.lru_cache(4_096)
def known_effects(sql: str, schema: Schema) -> Effects:
    """The same, kept by text."""
    return effects_of(sql, schema)
