-- Foreign keys whose columns no valid index begins with: every delete of a parent scans the child table.
SELECT c.conrelid::regclass AS "table",
       c.conname AS foreign_key,
       c.confrelid::regclass AS parent,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.at)
        FROM unnest(c.conkey) WITH ORDINALITY AS k(num, at)
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num) AS columns,
       pg_size_pretty(pg_relation_size(c.conrelid)) AS table_size
FROM pg_constraint c
WHERE c.contype = 'f'
  AND NOT EXISTS (
      SELECT FROM pg_index i
      WHERE i.indrelid = c.conrelid
        AND i.indisvalid
        AND i.indpred IS NULL
        AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
  )
ORDER BY pg_relation_size(c.conrelid) DESC;
