-- Statements of this database by total time, with their share of it (needs pg_stat_statements).
SELECT left(regexp_replace(query, '\s+', ' ', 'g'), 90) AS statement,
       calls,
       round(mean_exec_time::numeric, 3) AS mean_ms,
       round(total_exec_time::numeric, 1) AS total_ms,
       round((100 * total_exec_time / nullif(sum(total_exec_time) OVER (), 0))::numeric, 1) AS share_percent,
       rows,
       shared_blks_hit AS blocks_hit,
       shared_blks_read AS blocks_read
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC
LIMIT 15;
