SET LOCAL lock_timeout = '5s';
DROP EXTENSION IF EXISTS pg_trgm;
