-- Indexes by use: scans since the statistics began, size, and whether a constraint needs the index.
SELECT s.schemaname AS schema,
       s.relname AS "table",
       s.indexrelname AS index,
       s.idx_scan AS scans,
       pg_size_pretty(pg_relation_size(s.indexrelid)) AS size,
       pg_relation_size(s.indexrelid) AS bytes,
       i.indisvalid AS valid,
       i.indisunique AS "unique",
       EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = s.indexrelid) AS "constraint",
       s.indexrelid::bigint AS oid
FROM pg_stat_user_indexes s
JOIN pg_index i ON i.indexrelid = s.indexrelid
ORDER BY s.idx_scan, pg_relation_size(s.indexrelid) DESC;
