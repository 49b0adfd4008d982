-- B-tree indexes by what they have over what their rows need (estimated from the columns' mean widths).
SELECT n.nspname AS schema,
       t.relname AS "table",
       x.relname AS index,
       x.relpages * 8192::bigint AS bytes,
       (ceil(x.reltuples * (w.width + 16) / (8192 * 0.9)) * 8192)::bigint AS needed_bytes
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_am am ON am.oid = x.relam AND am.amname = 'btree'
CROSS JOIN LATERAL (
    SELECT sum((s.avg_width + 7) / 8 * 8 * (1 - s.null_frac)) AS width, count(*) AS known
    FROM pg_stats s
    JOIN pg_attribute a ON a.attname = s.attname AND a.attrelid = t.oid AND a.attnum = ANY(i.indkey)
    WHERE s.schemaname = n.nspname AND s.tablename = t.relname
) w
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND i.indexprs IS NULL
  AND w.known = i.indnatts
  AND x.reltuples > 0
ORDER BY x.relpages DESC;
