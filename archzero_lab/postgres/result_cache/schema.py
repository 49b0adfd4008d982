"""What of a database decides what a statement touches: tables, keys, views, cascades, triggers, functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg

EVERYTHING = "*"
"""Stands for each table in what a trigger writes that nobody has declared."""

_TABLES: LiteralString = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence <> 't' AND NOT c.relrowsecurity,
       (SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
          AND a.atttypid IN ('uuid'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype)),
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
         OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1'),
       CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
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
SELECT n.nspname = 'pg_catalog', p.proname, p.provolatile::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
"""


@dataclass(frozen=True)
class Table:
    """A table or view. Names are schema.name.

    `reads`: the tables that its rows come from. `plain`: they are the same for whoever asks. `key`: its primary key,
    where that is one column of an integer or a UUID and it has no partitions. `family`: itself with what it is a part
    of and what is part of it. `cascades`: what foreign keys may change with it, `updates`: those of an UPDATE alone.
    `by_triggers`: what its triggers write.
    """

    name: str
    reads: frozenset[str]
    plain: bool
    key: str | None
    family: frozenset[str]
    cascades: frozenset[str]
    updates: frozenset[str]
    by_triggers: frozenset[str]


@dataclass(eq=False)
class Schema:
    """The tables and functions of one database, as one role resolves their names."""

    tables: dict[str, Table]
    path: tuple[str, ...]
    volatile: dict[tuple[bool, str], set[str]]
    views: dict[str, str] = field(default_factory=dict)
    """Texts of views by name: what they read is found by who parses statements."""

    def table(self, schema: str | None, name: str) -> Table | None:
        """A table by its name, found by the search path where no schema is said."""
        for where in (schema,) if schema else ("pg_catalog", *self.path):
            if found := self.tables.get(f"{where}.{name}"):
                return found
        return None

    def is_fixed(self, schema: str | None, name: str) -> bool | None:
        """Whether a function's value is decided by its arguments and the tables named; None where it may write."""
        if schema in (None, "pg_catalog") and (found := self.volatile.get((True, name))):
            return "v" not in found
        own = self.volatile.get((False, name))
        if own is None or "v" in own:
            return None
        return own == {"i"}


def read_schema(
    connection: psycopg.Connection[tuple[object, ...]], trigger_writes: Mapping[str, Collection[str]]
) -> Schema:
    """The schema as it is now. `trigger_writes` says of a table what its triggers write; of others it is not known."""
    rows = connection.execute(_TABLES).fetchall()
    names = {row[0]: f"{row[1]}.{row[2]}" for row in rows}
    below = _pairs(connection, _INHERITS, names)
    above: dict[str, set[str]] = {}
    for parent, children in below.items():
        for child in children:
            above.setdefault(child, set()).add(parent)
    cascades, updates = (_pairs(connection, sql, names) for sql in (_CASCADES, _UPDATES))
    volatile: dict[tuple[bool, str], set[str]] = {}
    for system, name, kind in connection.execute(_FUNCTIONS):
        volatile.setdefault((bool(system), str(name)), set()).add(str(kind))
    (path,) = connection.execute("SELECT current_schemas(false)").fetchone() or ((),)
    made = Schema({}, tuple(path), volatile)  # type: ignore[arg-type]
    for oid, _, _, kind, plain, key, triggered, text in rows:
        name = names[oid]
        if text is not None:
            made.views[name] = str(text)
            continue
        around = {name, *_closure([name], below), *_closure([name], above)}
        unknown = {EVERYTHING} if triggered else set()
        made.tables[name] = Table(
            name, frozenset({name}), bool(plain) and kind != "f", str(key) if key and len(around) == 1 else None,
            frozenset(around), frozenset(_closure(around, cascades)), frozenset(_closure(around, updates)),
            frozenset(trigger_writes.get(name, unknown)),
        )  # fmt: skip
    return made


def _pairs(
    connection: psycopg.Connection[tuple[object, ...]], sql: LiteralString, names: Mapping[object, str]
) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one, other in connection.execute(sql):
        if one in names and other in names:
            found.setdefault(names[one], set()).add(names[other])
    return found


def _closure(start: Collection[str], next_of: Mapping[str, Collection[str]]) -> set[str]:
    """What is reached from these, themselves left out unless a circle leads back."""
    found: set[str] = set()
    waiting = [one for name in start for one in next_of.get(name, ())]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += next_of.get(name, ())
    return found
