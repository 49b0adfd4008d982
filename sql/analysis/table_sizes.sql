-- Tables by size: heap, indexes, TOAST, live and dead rows, last analyze.
SELECT s.schemaname AS schema,
       s.relname AS "table",
       s.n_live_tup AS live_rows,
       s.n_dead_tup AS dead_rows,
       pg_size_pretty(pg_relation_size(s.relid)) AS heap,
       pg_size_pretty(pg_indexes_size(s.relid)) AS indexes,
       pg_size_pretty(pg_total_relation_size(s.relid)) AS total,
       greatest(s.last_analyze, s.last_autoanalyze)::timestamp(0) AS last_analyze
FROM pg_stat_user_tables s
ORDER BY pg_total_relation_size(s.relid) DESC;
