"""What an index is for beside the queries that read it: the one answer of indexes, analyze and lint."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from psycopg import sql

from archzero_lab.postgres.connection import Connection

_FOREIGN_KEYS = """
SELECT k.oid::bigint, k.conname, n.nspname, t.relname,
    ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c(num, at)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.num ORDER BY c.at),
    k.confrelid::regclass::text,
    ARRAY(SELECT i.indexrelid::bigint FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
          JOIN pg_am am ON am.oid = x.relam
          WHERE i.indrelid = k.conrelid AND i.indisvalid AND am.amname IN ('btree', 'hash')
            AND (i.indpred IS NULL OR cardinality(k.conkey) = 1 AND pg_get_expr(i.indpred, i.indrelid) =
                 (SELECT format('(%I IS NOT NULL)', a.attname) FROM pg_attribute a
                  WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1]))
            AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey),
    t.relkind = 'p'
FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY 1
"""
_OTHERS = """
SELECT i.indexrelid::bigint, 'cluster', 'the table is clustered on it: CLUSTER orders the rows by it'
FROM pg_index i WHERE i.indisclustered
UNION ALL
SELECT i.indexrelid::bigint, 'replica identity', 'logical replication knows rows by it (REPLICA IDENTITY)'
FROM pg_index i WHERE i.indisreplident
UNION ALL
SELECT DISTINCT i.indexrelid::bigint, 'policy', format('policy %I asks for its column in each statement', p.polname)
FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid AND t.relrowsecurity
JOIN pg_policy p ON p.polrelid = t.oid
JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refobjid = t.oid
    AND d.refobjsubid = i.indkey[0] AND d.refobjsubid > 0
"""
_WHOLES = """
SELECT c.oid::bigint, pg_partition_root(c.oid)::oid::bigint FROM pg_class c WHERE c.relkind = 'i' AND c.relispartition
"""


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key and the indexes (oids) that its look-ups of children can use."""

    name: str
    schema: str
    table: str
    columns: tuple[str, ...]
    parent: str
    served_by: tuple[int, ...]
    partitioned: bool = False

    def look_up(self) -> str:
        """The statement by which a delete or a change of the parent's key finds the children, as PostgreSQL asks it."""
        conditions = sql.SQL(" AND ").join(
            sql.SQL("x.{} = {}").format(sql.Identifier(column), sql.SQL(f"${number}"))
            for number, column in enumerate(self.columns, 1)
        )
        return (
            sql.SQL("SELECT 1 FROM {} {} x WHERE {}")
            .format(sql.SQL("" if self.partitioned else "ONLY"), sql.Identifier(self.schema, self.table), conditions)
            .as_string()
        )


def foreign_keys(connection: Connection) -> list[ForeignKey]:
    """All foreign keys."""
    rows = connection.execute(_FOREIGN_KEYS).fetchall()
    return [ForeignKey(row[1], row[2], row[3], tuple(row[4]), row[5], tuple(row[6]), row[7]) for row in rows]


def purposes(connection: Connection) -> dict[int, list[str]]:
    """Index (oid) -> why it may not go though no query reads it; nothing for one that only queries may need.

    A foreign key's only index, CLUSTER, a replica identity, a policy's column. Uniqueness and constraints are
    `index_catalog.Index.guards`.
    """
    found: dict[int, list[str]] = defaultdict(list)
    for key in foreign_keys(connection):
        if len(key.served_by) == 1:
            found[key.served_by[0]].append(
                f"the only index of foreign key {key.name}: without it each delete of a row of {key.parent}"
                f" reads all of {key.table}"
            )
    for oid, _, words in connection.execute(_OTHERS).fetchall():
        found[oid].append(words)
    # what is needed of a partition's index is needed of the whole
    for part, whole in connection.execute(_WHOLES).fetchall():
        found[whole] += [words for words in found.pop(part, []) if words not in found[whole]]
    return {oid: words for oid, words in found.items() if words}
