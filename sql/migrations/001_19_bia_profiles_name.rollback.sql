SET lock_timeout = '5s';
DROP INDEX CONCURRENTLY IF EXISTS idx_bia_profiles_name;
