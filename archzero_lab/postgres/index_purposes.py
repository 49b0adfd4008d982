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
FROM pg_policy p JOIN pg_class guarded ON guarded.oid = p.polrelid AND guarded.relrowsecurity
JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
JOIN pg_index i ON i.indrelid = d.refobjid OR i.indrelid IN (SELECT relid FROM pg_partition_tree(d.refobjid))
JOIN pg_attribute named ON named.attrelid = d.refobjid AND named.attnum = d.refobjsubid
-- a partition may have its columns in another order; an expression in the first place is known by what it rests on
WHERE EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = named.attname
    AND (a.attnum = i.indkey[0] OR i.indkey[0] = 0 AND EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = i.indexrelid
            AND e.refobjid = i.indrelid AND e.refobjsubid = a.attnum)))
UNION ALL
SELECT DISTINCT i.indexrelid::bigint, 'statistics',
    'the planner knows its expression by its statistics alone: CREATE STATISTICS on that would keep them without it'
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = s.attname AND i.indkey[a.attnum - 1] = 0
WHERE i.indexprs IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_stats_ext_exprs x
    JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
    WHERE x.schemaname = tn.nspname AND x.tablename = t.relname
        AND x.expr = pg_get_indexdef(i.indexrelid, a.attnum, false))
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

    A foreign key's only index, CLUSTER, a replica identity, a policy's column on whatever table, an expression's
    statistics. Uniqueness and constraints are
    `index_catalog.Index.guards`.
    """
    by_index: dict[int, list[str]] = defaultdict(list)
    for key in foreign_keys(connection):
        if len(key.served_by) == 1:
            by_index[key.served_by[0]].append(
                f"the only index of foreign key {key.name}: without it each delete of a row of {key.parent}"
                f" reads all of {key.table}"
            )
    for oid, _, words in connection.execute(_OTHERS).fetchall():
        by_index[oid].append(words)
    # what is needed of a partition's index is needed of the whole
    for part, whole in connection.execute(_WHOLES).fetchall():
        by_index[whole] += [words for words in by_index.pop(part, []) if words not in by_index[whole]]
    return {oid: words for oid, words in by_index.items() if words}
