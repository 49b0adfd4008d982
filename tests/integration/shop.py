"""Somebody's database, with other tables than ours: a schema, an enum, identities, quoted names, keys, a partition."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.postgres.locales import Locale
from archzero_lab.servers.stack import Stack

SHOP = """
CREATE SCHEMA shop;
CREATE TYPE shop.state AS ENUM ('open', 'paid', 'sent');
CREATE TABLE shop.customer (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "e-Mail" text UNIQUE NOT NULL);
CREATE TABLE shop."Order" (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES shop.customer,
    state shop.state NOT NULL,
    total numeric NOT NULL CHECK (total >= 0),
    twice numeric GENERATED ALWAYS AS (total * 2) STORED,
    placed date NOT NULL
);
CREATE TABLE shop.event (at date NOT NULL, what text NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE shop.event_2026 PARTITION OF shop.event FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO shop.customer ("e-Mail") SELECT 'c' || n || '@example.org' FROM generate_series(1, 2000) AS n;
INSERT INTO shop."Order" (customer_id, state, total, placed)
SELECT 1 + n % 2000, (ARRAY['open', 'paid', 'sent']::shop.state[])[1 + (n % 100 > 0)::int + (n % 3 > 0)::int],
    n % 500, date '2026-01-01' + n % 300 FROM generate_series(1, 40000) AS n;
INSERT INTO shop.event SELECT date '2026-01-01' + n % 300, 'event ' || n FROM generate_series(1, 2000) AS n;
ANALYZE;
"""
MIGRATION = """
CREATE INDEX order_customer ON shop."Order" (customer_id);
CREATE INDEX CONCURRENTLY order_customer_state ON shop."Order" (customer_id, state);
CREATE INDEX order_total ON shop."Order" (total);
ALTER TABLE shop.customer ADD CONSTRAINT customer_pair UNIQUE ("e-Mail", id);
CREATE UNIQUE INDEX order_once ON shop."Order" (placed, id);
"""
QUERIES = {
    "of a customer": 'SELECT * FROM shop."Order" WHERE customer_id = $1 AND state = $2 ORDER BY id LIMIT $3',
    "by mail": 'SELECT * FROM shop.customer WHERE "e-Mail" = $1',
    "pay": '-- $1 = paid\nUPDATE shop."Order" SET state = $1 WHERE id = $2',
    "all": "-- $1 = 250\nSELECT count(*) FROM shop.\"Order\" WHERE twice > $1",
}  # fmt: skip


@contextmanager
def somebodys_database(stack: Stack, purpose: str, made_by: str = SHOP, locale: Locale | None = None) -> Iterator[str]:
    """The URL of a database that this SQL has made, for as long as the block runs."""
    name = stack.database_name(purpose)
    url = create_database(stack.postgres_url, name, locale=locale)
    try:
        with connect(url, autocommit=True) as connection:
            connection.execute(made_by.encode())
        yield url
    finally:
        drop_database(stack.postgres_url, name)


def state_of(url: str) -> str:
    """Everything of it that a change would change."""
    with connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT c.relname, c.relkind, pg_get_indexdef(c.oid), pg_relation_size(c.oid) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'shop' ORDER BY 1"
        ).fetchall()
        counts = connection.execute('SELECT count(*), sum(total) FROM shop."Order"').fetchall()
    return hashlib.sha256(repr((rows, counts)).encode()).hexdigest()
