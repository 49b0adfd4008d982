"""Indexes as the catalog has them: columns, size, what needs them, and which repeat the beginning of another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from archzero_lab.postgres.connection import Connection

_INDEXES = """
SELECT i.indexrelid::bigint, n.nspname, t.relname, c.relname, am.amname,
    CASE c.relkind WHEN 'i' THEN pg_relation_size(c.oid)
         ELSE (SELECT coalesce(sum(pg_relation_size(relid)), 0)::bigint FROM pg_partition_tree(c.oid)) END,
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
    t.oid::bigint, pg_get_indexdef(i.indexrelid), coalesce(c.reloptions::text, ''),
    'pg_catalog.default'::regcollation = ANY(i.indcollation::oid[])
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_am am ON am.oid = c.relam
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND NOT c.relispartition
    AND t.relname NOT IN ('_yoyo_log', '_yoyo_migration', '_yoyo_version', 'yoyo_lock')
ORDER BY n.nspname, t.relname, c.relname
"""
_PARTS = """
SELECT c.oid::bigint, tree.relid::oid::bigint, n.nspname, part.relname, t.relname, t.oid::bigint,
    pg_relation_size(part.oid)
FROM pg_class c CROSS JOIN LATERAL pg_partition_tree(c.oid) AS tree JOIN pg_class part ON part.oid = tree.relid
JOIN pg_index i ON i.indexrelid = part.oid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = part.relnamespace
WHERE c.relkind = 'I' AND NOT c.relispartition AND tree.isleaf AND part.relkind = 'i'
ORDER BY 1, part.oid
"""


@dataclass(frozen=True)
class IndexPart:
    """The index of one partition, which belongs to the partitioned table's."""

    oid: int
    schema: str
    name: str
    table: str
    table_oid: int
    bytes: int


@dataclass(frozen=True)
class Index:
    """One index. `keys` are its key columns or expressions, in order, each with its sort options, operator class,
    collation and the class' parameters; `columns` all that it reads, in expressions and its predicate too.

    `constraint`: a constraint rests on it. `orders_texts`: by the database's own collation. `label`: its name, with its
    schema where another has that name too. `parts`: of a partitioned table's index those of the partitions, which are
    one index with it.
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
    orders_texts: bool = False
    label: str = ""
    parts: tuple[IndexPart, ...] = ()

    @property
    def largest_table(self) -> int:
        """Of a partitioned table's index the partition (oid) with the most of it, by which a write is measured."""
        return max(self.parts, key=lambda part: part.bytes).table_oid if self.parts else self.table_oid

    def on(self, table_oid: int) -> Index | None:
        """It, or its part, on one table, under its own label; None where it is not there."""
        if self.table_oid == table_oid:
            return self
        for part in self.parts:
            if part.table_oid == table_oid:
                return replace(self, oid=part.oid, schema=part.schema, table=part.table, name=part.name,
                               table_oid=table_oid, bytes=part.bytes, parts=())  # fmt: skip
        return None

    @property
    def guards(self) -> bool:
        """Whether it is there for more than speed: a constraint rests on it, or it lets nothing in twice."""
        return self.constraint or self.unique

    @property
    def qualified_table(self) -> str:
        """The table with its schema, as a person writes it."""
        return self.table if self.schema == "public" else f"{self.schema}.{self.table}"


def list_indexes(connection: Connection) -> list[Index]:
    """All indexes of the user's tables, by table and name; that of a partitioned table is one."""
    parts: dict[int, list[IndexPart]] = defaultdict(list)
    for row in connection.execute(_PARTS).fetchall():
        parts[row[0]].append(IndexPart(*row[1:]))
    indexes = []
    for row in connection.execute(_INDEXES).fetchall():
        lists = (tuple(part) for part in row[10:13])
        one = Index(*row[:10], *lists, *row[13:])
        indexes.append(replace(one, label=one.name, parts=tuple(parts[one.oid])))
    shared = {name for name, times in Counter(index.name for index in indexes).items() if times > 1}
    return [replace(one, label=f"{one.schema}.{one.name}") if one.name in shared else one for one in indexes]


def redundant(indexes: Sequence[Index]) -> dict[int, Index]:
    """Indexes that a longer or equal one of the same table makes superfluous by its definition: oid -> the other.

    B-tree prefixes with the same predicate, and equal definitions of any method; never one behind a constraint. Of two
    equal ones the older (by oid) is kept.
    """
    doubles: dict[int, Index] = {}
    for one in indexes:
        if one.guards:
            continue
        for other in indexes:
            same_place = (one.table_oid, one.method, one.predicate) == (
                other.table_oid, other.method, other.predicate,
            )  # fmt: skip
            if one.oid == other.oid or not same_place or other.oid in doubles or not other.valid:
                continue
            if one.method != "btree" and one.options != other.options:
                continue  # a BRIN of other pages_per_range, a bloom of other bits: another index
            if one.keys == other.keys and set(one.included) <= set(other.included):
                # of two equal ones the other only where it stays: a constraint's, or the older
                if one.included != other.included or other.guards or other.oid < one.oid:
                    doubles[one.oid] = other
                    break
            elif one.method == "btree" and not one.included and one.keys == other.keys[: len(one.keys)]:
                doubles[one.oid] = other
                break
    return doubles


@contextmanager
def hidden(connection: Connection, indexes: Sequence[Index], admin: Connection) -> Iterator[None]:
    """Take indexes out of every plan for one transaction of the connection, which is rolled back.

    Writes keep them up. Only on a database of our own: `admin` is a superuser's connection to it, which marks them not
    valid in the catalog, about 1 ms and no lock that hurts, while DROP INDEX would take ACCESS EXCLUSIVE. It runs
    nothing else, so that nothing of the database's own ever runs as a superuser.
    """
    valid = [index for index in indexes if index.valid]
    oids = [oid for index in valid for oid in (index.oid, *(part.oid for part in index.parts))]
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
