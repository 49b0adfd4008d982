SET lock_timeout = '5s';
DROP INDEX CONCURRENTLY IF EXISTS idx_relationships_source_id;
