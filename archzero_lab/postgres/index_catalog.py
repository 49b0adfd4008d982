"""Indexes as the catalog has them: columns, size, what needs them, and which repeat the beginning of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from archzero_lab.postgres.connection import Connection

_INDEXES = """
SELECT i.indexrelid::bigint, n.nspname, t.relname, c.relname, am.amname, pg_relation_size(i.indexrelid),
    i.indisunique, EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid), i.indisvalid,
    coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
    ARRAY(SELECT concat_ws(' ', pg_get_indexdef(i.indexrelid, at, true), i.indoption[at - 1], i.indclass[at - 1],
                           i.indcollation[at - 1], a.attoptions::text)
          FROM generate_series(1, i.indnkeyatts) AS at
          JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = at ORDER BY at),
    ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND (a.attnum = ANY(i.indkey)
          OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                     AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)) AND a.attnum > 0 ORDER BY a.attnum),
    ARRAY(SELECT pg_get_indexdef(i.indexrelid, at, true)
          FROM generate_series(i.indnkeyatts + 1, i.indnatts) AS at),
    t.oid::bigint, pg_get_indexdef(i.indexrelid), coalesce(c.reloptions::text, '')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_am am ON am.oid = c.relam
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relkind = 'i'
    AND t.relname NOT LIKE '%yoyo%'
ORDER BY n.nspname, t.relname, c.relname
"""


@dataclass(frozen=True)
class Index:
    """One index. `keys` are its key columns or expressions, in order, each with its sort options, operator class,
    collation and the class' parameters; `columns` all that it reads, in expressions and its predicate too.

    `constraint`: a constraint rests on it.
    """

    oid: int
    schema: str
    table: str
    name: str
    method: str
    bytes: int
    unique: bool
    constraint: bool
    valid: bool
    predicate: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    included: tuple[str, ...]
    table_oid: int
    definition: str
    options: str = ""

    @property
    def guards(self) -> bool:
        """Whether it is there for more than speed: a constraint rests on it, or it lets nothing in twice."""
        return self.constraint or self.unique

    @property
    def qualified_table(self) -> str:
        """The table with its schema, as a person writes it."""
        return self.table if self.schema == "public" else f"{self.schema}.{self.table}"


def list_indexes(connection: Connection) -> list[Index]:
    """All indexes of the user's tables, by table and name (of a partitioned table those of its partitions)."""
    rows = connection.execute(_INDEXES).fetchall()
    return [Index(*row[:10], *(tuple(part) for part in row[10:13]), *row[13:]) for row in rows]


def redundant(indexes: Sequence[Index]) -> dict[str, str]:
    """Indexes that a longer or equal one of the same table makes superfluous by its definition: name -> the other's.

    B-tree prefixes with the same predicate, and equal definitions of any method; never one behind a constraint. Of two
    equal ones the first by name is kept.
    """
    found: dict[str, str] = {}
    for one in indexes:
        if one.guards:
            continue
        for other in indexes:
            same_place = (one.table_oid, one.method, one.predicate) == (
                other.table_oid, other.method, other.predicate,
            )  # fmt: skip
            if one.oid == other.oid or not same_place or other.name in found:
                continue
            if one.method != "btree" and one.options != other.options:
                continue  # a BRIN of other pages_per_range, a bloom of other bits: another index
            if one.keys == other.keys and set(one.included) <= set(other.included):
                # of two equal ones the other only where it stays: a constraint's, or the earlier name
                if one.included != other.included or other.guards or other.name < one.name:
                    found[one.name] = other.name
                    break
            elif one.method == "btree" and not one.included and one.keys == other.keys[: len(one.keys)]:
                found[one.name] = other.name
                break
    return found


@contextmanager
def hidden(connection: Connection, indexes: Sequence[Index], admin: Connection) -> Iterator[None]:
    """Take indexes out of every plan for one transaction of the connection, which is rolled back.

    Writes keep them up. Only on a database of our own: `admin` is a superuser's connection to it, which marks them not
    valid in the catalog, about 1 ms and no lock that hurts, while DROP INDEX would take ACCESS EXCLUSIVE. It runs
    nothing else, so that nothing of the database's own ever runs as a superuser.
    """
    oids = [index.oid for index in indexes if index.valid]
    mark = "UPDATE pg_catalog.pg_index SET indisvalid = $2 WHERE indexrelid = ANY($1::oid[])"
    if oids:
        admin.execute(mark, [oids, False])
        # plans that functions and foreign keys' triggers keep would go on reading what is hidden
        connection.execute("DISCARD PLANS")
    try:
        with connection.transaction(force_rollback=True):
            yield
    finally:
        if oids:
            admin.execute(mark, [oids, True])
            connection.execute("DISCARD PLANS")
