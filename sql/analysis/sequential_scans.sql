-- Tables that are read in whole: sequential scans, rows read by each, and how often an index served instead.
SELECT schemaname AS schema,
       relname AS "table",
       seq_scan AS sequential_scans,
       seq_tup_read / nullif(seq_scan, 0) AS rows_each,
       idx_scan AS index_scans,
       round(100.0 * seq_scan / nullif(seq_scan + idx_scan, 0), 1) AS sequential_percent
FROM pg_stat_user_tables
WHERE seq_scan > 0
ORDER BY seq_tup_read DESC;
