"""What a statement reads or writes, by its parse tree: whole tables, or one row of one by its primary key."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace
from typing import Any

import pglast
from pglast import ast, enums

from archzero_lab.postgres.result_cache.rows import Row, is_a, nodes, row_of, row_read
from archzero_lab.postgres.result_cache.schema import EVERYTHING, Schema, Table

MOMENTS = re.compile(r"\b(now|today|tomorrow|yesterday)\b", re.IGNORECASE)
"""Texts that are another date or time each time they are read as one."""
_STABLE = {
    "row_to_json", "to_json", "to_jsonb", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg",
    "json_build_object", "jsonb_build_object", "json_build_array", "jsonb_build_array", "array_to_json", "to_char",
    "to_number", "to_date", "to_timestamp", "concat", "concat_ws", "format", "convert_to", "convert_from", "date_trunc",
    "date_part", "extract", "timezone", "array_to_string", "string_to_array", "json_strip_nulls", "like", "ilike",
}  # fmt: skip
"""Stable functions of PostgreSQL whose value hangs on their arguments and on settings that a result's key holds."""
_OF_NO_RESULT = re.compile(r"(\w+_timeout|application_name)\Z")
"""Settings on which no result hangs."""
_LONGEST_KEPT = 20_000


@dataclass(frozen=True)
class Effects:
    """What a statement does. `cacheable`: nothing but what it names decides its result.

    `reads` are tables; `row` is given where one row of one table is all that is read. `writes` are tables of which any
    row may be written, `inserts` those that only gain rows, `rows` single rows. EVERYTHING stands for the unknown.
    `session`: what follows on the connection may not be the same as elsewhere (SET, temporary tables); `transaction`:
    until its transaction ends.
    """

    cacheable: bool = False
    reads: frozenset[str] = frozenset()
    row: Row | None = None
    writes: frozenset[str] = frozenset()
    inserts: frozenset[str] = frozenset()
    rows: tuple[Row, ...] = ()
    session: bool = False
    transaction: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is written."""
        return bool(self.writes or self.inserts or self.rows)


_OF_NO_ROW = (
    ast.NotifyStmt, ast.ListenStmt, ast.UnlistenStmt, ast.LockStmt, ast.FetchStmt, ast.ClosePortalStmt,
    ast.ConstraintsSetStmt, ast.VariableShowStmt, ast.DeallocateStmt, ast.DiscardStmt,
)  # fmt: skip
"""What neither changes a row nor is answered with rows that are kept."""
_NOTHING = Effects()
UNKNOWN = Effects(writes=frozenset({EVERYTHING}), session=True)


@dataclass
class _Seen:
    schema: Schema
    queries: frozenset[str] = frozenset()
    tables: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    inserts: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    decided: bool = True
    unknown: bool = False
    session: bool = False
    transaction: bool = False


def effects_of(sql: str, schema: Schema) -> Effects:
    """The effects of a text of SQL with $1, $2, … for its parameters, in a database of that schema."""
    try:
        statements = pglast.parse_sql(sql)
        if len(statements) != 1:
            return UNKNOWN if statements else _NOTHING
        return _of_statement(statements[0].stmt, schema)
    except (pglast.Error, RecursionError):
        return UNKNOWN  # a newer grammar than ours, or a very deep one: PostgreSQL may well take it


def _of_statement(statement: Any, schema: Schema) -> Effects:
    if is_a(statement, ast.TransactionStmt):
        if "PREPARE" in enums.TransactionStmtKind(int(statement.kind)).name:
            return UNKNOWN  # two phases: what was written comes later, from whoever commits it
        return Effects(transaction=bool(statement.options))  # another isolation
    if is_a(statement, ast.ExplainStmt):
        return UNKNOWN if statement.options else _NOTHING  # EXPLAIN ANALYZE runs what it explains
    if is_a(statement, *_OF_NO_ROW):
        return _NOTHING
    if is_a(statement, ast.VariableSetStmt):
        if statement.name is None or _OF_NO_RESULT.match(statement.name):
            return _NOTHING  # RESET ALL, or a timeout
        return Effects(transaction=True) if statement.is_local else Effects(session=True)
    if is_a(statement, ast.CopyStmt) and statement.is_from:
        table = schema.table(statement.relation.schemaname, statement.relation.relname)
        if table is None or EVERYTHING in table.family:
            return UNKNOWN
        return Effects(inserts=table.family, writes=table.after_insert)
    if is_a(statement, ast.CopyStmt, ast.DeclareCursorStmt):
        return _not_kept(_of_query(statement.query, schema)) if statement.query else _NOTHING
    if not is_a(statement, ast.SelectStmt, ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt):
        return UNKNOWN
    return _of_query(statement, schema)


def _of_query(statement: Any, schema: Schema) -> Effects:
    seen = _Seen(schema, frozenset(str(node.ctename) for node in nodes(statement) if is_a(node, ast.CommonTableExpr)))
    for node in nodes(statement):
        _look_at(node, seen)
    if seen.unknown:
        return UNKNOWN
    effects = Effects(session=seen.session, transaction=seen.transaction)
    if seen.writes or seen.inserts or seen.rows:
        return replace(effects, writes=frozenset(seen.writes), inserts=frozenset(seen.inserts), rows=tuple(seen.rows))
    if not seen.decided or not seen.tables or not is_a(statement, ast.SelectStmt):
        return effects
    row = row_read(statement, schema, seen.tables)
    return replace(effects, cacheable=True, reads=frozenset(seen.tables), row=row)


def _not_kept(effects: Effects) -> Effects:
    return replace(effects, cacheable=False, reads=frozenset(), row=None)


def resolve_views(schema: Schema) -> None:
    """Find out which tables the views of a schema read; one that says otherwise each time is never kept."""
    left = dict(schema.views)
    while left:
        known = {name: effects for name, text in left.items() if (effects := effects_of(text, schema)).cacheable}
        for name in list(known or left):
            reads = known[name].reads if name in known else frozenset[str]()
            everything = frozenset({EVERYTHING})
            schema.tables[name] = Table(
                name, reads, name in known, family=everything, after_any=everything, after_insert=everything
            )  # fmt: skip
            del left[name]


def _look_at(node: Any, seen: _Seen) -> None:
    if is_a(node, ast.RangeVar):
        table = seen.schema.table(node.schemaname, node.relname)
        if table is not None:
            seen.tables |= table.reads
            seen.decided = seen.decided and table.plain
        elif node.schemaname is not None or node.relname not in seen.queries:
            seen.decided = False  # made after the schema was read, or temporary
    elif is_a(node, ast.InsertStmt):
        _write(node.relation, seen, only_new=node.onConflictClause is None)
    elif is_a(node, ast.UpdateStmt, ast.DeleteStmt):
        _write_rows(node, seen)
    elif is_a(node, ast.MergeStmt):
        _write(node.relation, seen)
    elif is_a(node, ast.SelectStmt):
        if node.intoClause is not None:
            seen.unknown = True
        seen.decided = seen.decided and not node.lockingClause
    elif is_a(node, ast.FuncCall):
        _call(node, seen)
    elif is_a(node, ast.SQLValueFunction, ast.RangeTableSample, ast.CurrentOfExpr):
        seen.decided = False
    elif is_a(node, ast.String):
        if MOMENTS.search(node.sval):
            seen.decided = False  # 'now'::timestamp
    elif is_a(node, ast.ColumnRef, ast.A_Indirection):
        parts = node.fields if is_a(node, ast.ColumnRef) else node.indirection
        if is_a(parts[-1], ast.String) and seen.schema.is_moving(parts[-1].sval):
            seen.decided = False  # o.total may be total(o)
    elif is_a(node, ast.A_Expr) and node.name and node.name[-1].sval in seen.schema.operators:
        seen.decided = False


def _write_rows(node: Any, seen: _Seen) -> None:
    table = seen.schema.table(node.relation.schemaname, node.relation.relname)
    row = row_of(node.whereClause, table, node.relation) if table else None
    if table is None or row is None:
        _write(node.relation, seen)
        return
    updates = is_a(node, ast.UpdateStmt)
    after = table.after_update if updates else table.after_delete
    if table.name in after or (updates and table.key in {target.name for target in node.targetList}):
        _write(node.relation, seen)
    else:
        seen.rows.append(row)
        seen.writes |= after


def _write(relation: Any, seen: _Seen, *, only_new: bool = False) -> None:
    table = seen.schema.table(relation.schemaname, relation.relname)
    if table is None:
        seen.writes.add(EVERYTHING)  # made after the schema was read: who writes finds that out when it marks
    elif only_new and EVERYTHING not in table.family:
        seen.inserts |= table.family
        seen.writes |= table.after_insert
    else:
        seen.writes |= table.after_any


def _call(node: Any, seen: _Seen) -> None:
    names = [part.sval for part in node.funcname]
    name = names[-1]
    kind = seen.schema.volatility(names[0] if len(names) > 1 else None, name)
    if kind == "V":
        seen.unknown = True  # it may write whatever it likes
    elif kind != "i" and not (kind == "s" and name in _STABLE):
        seen.decided = False
    if name == "set_config":
        _set(node, seen)


def _set(node: Any, seen: _Seen) -> None:
    """set_config(name, value, is local): a name of the application's own decides no result that is kept."""
    given: list[Any] = [one.val if is_a(one, ast.A_Const) else None for one in node.args or ()]
    name = given[0].sval if given and is_a(given[0], ast.String) else ""
    if _OF_NO_RESULT.match(name) or ("." in name and name not in seen.schema.settings):
        return
    if len(given) > 2 and is_a(given[2], ast.Boolean) and given[2].boolval:
        seen.transaction = True
    else:
        seen.session = True


@functools.lru_cache(4_096)
def _kept_effects(sql: str, schema: Schema) -> Effects:
    return effects_of(sql, schema)


def known_effects(sql: str, schema: Schema) -> Effects:
    """The same, kept by text where that is not very long."""
    return _kept_effects(sql, schema) if len(sql) <= _LONGEST_KEPT else effects_of(sql, schema)
