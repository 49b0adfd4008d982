"""What of a database decides what a statement touches: tables, keys, views, cascades, triggers, functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg

from archzero_lab.errors import SettingsError

EVERYTHING = "*"
"""Stands for each table in what a trigger writes that nobody has declared."""
SCHEMA = "#"
"""What is touched by who may have changed tables, triggers or functions."""

_TABLES: LiteralString = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text,
       c.relpersistence <> 't' AND NOT c.relrowsecurity AND n.nspname NOT IN ('pg_catalog', 'information_schema'),
       k.attname, k.atttypid = 'uuid'::regtype,
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
         OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1')
         OR EXISTS (SELECT FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid AND d.refclassid = 'pg_proc'::regclass
                    WHERE p.provolatile = 'v' AND p.pronamespace <> 'pg_catalog'::regnamespace AND (
                      d.classid = 'pg_attrdef'::regclass
                        AND d.objid IN (SELECT a.oid FROM pg_attrdef a WHERE a.adrelid = c.oid)
                      OR d.classid = 'pg_constraint'::regclass
                        AND d.objid IN (SELECT o.oid FROM pg_constraint o WHERE o.conrelid = c.oid))),
       CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
LEFT JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[0]
  AND k.atttypid IN ('uuid'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT (c.relkind = 'v' AND n.nspname IN ('pg_catalog', 'information_schema'))
"""
_CASCADES: LiteralString = """
SELECT confrelid, conrelid FROM pg_constraint
WHERE contype = 'f' AND (confdeltype NOT IN ('a', 'r') OR confupdtype NOT IN ('a', 'r'))
"""
_UPDATES: LiteralString = """
SELECT confrelid, conrelid FROM pg_constraint WHERE contype = 'f' AND confupdtype NOT IN ('a', 'r')
"""
_INHERITS: LiteralString = "SELECT inhparent, inhrelid FROM pg_inherits"
_FUNCTIONS: LiteralString = """
SELECT n.nspname = 'pg_catalog', p.proname, p.provolatile::text, p.prokind = 'a'
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
"""
_OPERATORS: LiteralString = """
SELECT o.oprname FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
WHERE o.oprnamespace <> 'pg_catalog'::regnamespace AND p.provolatile <> 'i'
"""
_SETTINGS: LiteralString = "SELECT name FROM pg_settings WHERE name LIKE '%.%'"
WHERE: LiteralString = """
SELECT current_schemas(false), current_setting('default_transaction_isolation'),
       (SELECT oid FROM pg_database WHERE datname = current_database()), pg_is_in_recovery()
"""
"""What is to be the same on each connection: how names are found, isolation, database, that it is no replica."""


@dataclass(frozen=True)
class Table:
    """A table or view. Names are schema.name.

    `reads`: the tables that its rows come from. `plain`: they are the same for whoever asks. `key`: its primary key,
    where that is one column and it has no partitions; `uuid` says that it is one, else it is an integer. `family`:
    itself with what it is a part of and what is part of it. `after_any`, `after_insert`, `after_update` and
    `after_delete`: tables of which any row may change with a row of it, by foreign keys and triggers, one by another.
    """

    name: str
    reads: frozenset[str]
    plain: bool
    key: str | None = None
    uuid: bool = False
    family: frozenset[str] = frozenset()
    after_any: frozenset[str] = frozenset()
    after_insert: frozenset[str] = frozenset()
    after_update: frozenset[str] = frozenset()
    after_delete: frozenset[str] = frozenset()


@dataclass(eq=False)
class Schema:
    """The tables and functions of one database, as one role resolves their names; `where` is what WHERE told."""

    tables: dict[str, Table]
    path: tuple[str, ...]
    volatile: dict[tuple[bool, str], set[str]]
    aggregates: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)
    settings: set[str] = field(default_factory=set)
    where: tuple[Any, ...] = ()
    views: dict[str, str] = field(default_factory=dict)
    """Texts of views by name: what they read is found by who parses statements."""

    def table(self, schema: str | None, name: str) -> Table | None:
        """A table by its name, found by the search path where no schema is said."""
        for where in (schema,) if schema else ("pg_catalog", *self.path):
            if known := self.tables.get(f"{where}.{name}"):
                return known
        return None

    def volatility(self, schema: str | None, name: str) -> str:
        """The worst of the functions of that name: i, s (of the system), S (one's own) or v, V for one that may write.

        Without a schema it may be one of the system's or one's own, by its arguments.
        """
        system = self.volatile.get((True, name), set()) if schema in (None, "pg_catalog") else set()
        own = self.volatile.get((False, name), set()) if schema != "pg_catalog" else set()
        if "v" in own or not (system or own):
            return "V"
        return "v" if "v" in system else "S" if "s" in own else "s" if "s" in system else "i"

    def is_moving(self, name: str) -> bool:
        """Whether a function of one's own has that name whose value is not decided by its arguments: o.total."""
        return bool(self.volatile.get((False, name), set()) - {"i"})


def read_schema(connection: psycopg.Connection[Any], trigger_writes: Mapping[str, Collection[str]]) -> Schema:
    """The schema as it is now. `trigger_writes` says of a table what its triggers write; of others it is not known.

    Raises SettingsError for a table named there that is not in the database.
    """
    rows = connection.execute(_TABLES).fetchall()
    names = {row[0]: f"{row[1]}.{row[2]}" for row in rows}
    for named in {*trigger_writes, *(one for writes in trigger_writes.values() for one in writes)}:
        if named not in names.values():
            raise SettingsError(f"trigger_writes names {named}, which is no table there; write schema.table")
    below = _pairs(connection, _INHERITS, names)
    above: dict[str, set[str]] = {}
    for parent, children in below.items():
        for child in children:
            above.setdefault(child, set()).add(parent)
    cascades, updates = (_pairs(connection, sql, names) for sql in (_CASCADES, _UPDATES))
    family = {name: {name, *_closure([name], below), *_closure([name], above)} for name in names.values()}
    fires = {names[row[0]]: set(trigger_writes.get(names[row[0]], {EVERYTHING} if row[7] else ())) for row in rows}
    edges = {name: family[name] | cascades.get(name, set()) | fires[name] for name in names.values()}

    def after(start: Collection[str]) -> frozenset[str]:
        return frozenset({*start, *_closure(start, edges)})

    volatile: dict[tuple[bool, str], set[str]] = {}
    aggregates = set()
    for system, name, kind, aggregate in connection.execute(_FUNCTIONS):
        volatile.setdefault((bool(system), str(name)), set()).add(str(kind))
        if aggregate:
            aggregates.add(str(name))
    where: Any = connection.execute(WHERE).fetchone() or ([],)
    made = Schema(
        {}, tuple(where[0]), volatile, aggregates, {row[0] for row in connection.execute(_OPERATORS)},
        {row[0] for row in connection.execute(_SETTINGS)}, tuple(where),
    )  # fmt: skip
    for oid, _, _, kind, plain, key, is_uuid, _, text in rows:
        name = names[oid]
        if text is not None:
            made.views[name] = str(text)
            continue
        of_parts = {one for part in family[name] for one in fires[part]}
        made.tables[name] = Table(
            name, frozenset({name}), bool(plain) and kind != "f",
            str(key) if key and len(family[name]) == 1 else None, bool(is_uuid), frozenset(family[name]),
            after_any=after([name]), after_insert=after(of_parts),
            after_update=after(updates.get(name, set()) | fires[name]),
            after_delete=after(cascades.get(name, set()) | fires[name]),
        )  # fmt: skip
    return made


def _pairs(connection: psycopg.Connection[Any], sql: LiteralString, names: Mapping[Any, str]) -> dict[str, set[str]]:
    pairs: dict[str, set[str]] = {}
    for one, other in connection.execute(sql):
        if one in names and other in names:
            pairs.setdefault(names[one], set()).add(names[other])
    return pairs


def _closure(start: Collection[str], next_of: Mapping[str, Collection[str]]) -> set[str]:
    """What is reached from these, themselves left out unless a circle leads back."""
    closure: set[str] = set()
    waiting = [one for name in start for one in next_of.get(name, ())]
    while waiting:
        name = waiting.pop()
        if name not in closure:
            closure.add(name)
            waiting += next_of.get(name, ())
    return closure
