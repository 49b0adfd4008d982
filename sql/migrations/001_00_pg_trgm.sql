-- Phase 5, 001: the extension first, since the trigram indexes need its operator class.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
CREATE EXTENSION IF NOT EXISTS pg_trgm;
