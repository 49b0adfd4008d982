"""A cache of results over a small shop of its own, as the tests of it have it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.postgres.result_cache import ResultCache
from archzero_lab.servers.stack import Stack

SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, name text, price numeric, made timestamptz, mark uuid, open bool DEFAULT true);
CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE, what text);
CREATE TABLE parts (id int, what text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE audited (id int PRIMARY KEY, what text);
CREATE TABLE audit (what text);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO audit VALUES (NEW.what); RETURN NEW; END';
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON audited FOR EACH ROW EXECUTE FUNCTION noted();
CREATE TABLE watched (id int PRIMARY KEY);
CREATE TABLE watching (id int REFERENCES watched ON DELETE CASCADE);
CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO audit VALUES (''gone''); RETURN OLD; END';
CREATE TRIGGER told AFTER DELETE ON watching FOR EACH ROW EXECUTE FUNCTION told();
INSERT INTO watched VALUES (1);
INSERT INTO watching VALUES (1);
CREATE TRIGGER noted AFTER INSERT ON parts_1 FOR EACH ROW EXECUTE FUNCTION noted();
CREATE TABLE counters (n int);
INSERT INTO counters VALUES (0);
CREATE FUNCTION next_number() RETURNS int LANGUAGE sql AS 'UPDATE counters SET n = n + 1 RETURNING n';
CREATE TABLE numbered (id int DEFAULT next_number());
CREATE TABLE plainly (what text);
CREATE SCHEMA tenant;
CREATE TABLE tenant.orders (id int PRIMARY KEY, name text);
CREATE VIEW changing AS SELECT id FROM orders;
CREATE VIEW open_orders AS SELECT id, name FROM orders WHERE open;
CREATE MATERIALIZED VIEW names AS SELECT name FROM orders;
CREATE TABLE guarded (id int PRIMARY KEY);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
INSERT INTO orders SELECT n, 'order ' || n, n / 7.0, timestamptz '2026-01-01' + n * interval '1 hour',
       md5(n::text)::uuid, n % 2 = 0 FROM generate_series(1, 20) AS n;
INSERT INTO lines SELECT n, 1 + n % 20, 'line ' || n FROM generate_series(1, 60) AS n;
"""
ORDER = "SELECT name FROM orders WHERE id = %s"


@pytest.fixture(scope="module")
def url(stack: Stack, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the file's own."""
    name = stack.database_name(request.module.__name__.rpartition(".")[2])
    made = create_database(stack.postgres_url, name)
    with psycopg.connect(made) as connection:
        connection.execute(SCHEMA)
    yield made
    drop_database(stack.postgres_url, name)


@pytest.fixture
def cache(url: str, stack: Stack) -> Iterator[ResultCache]:
    """A cache of the test's own, in the one Redis."""
    made = ResultCache(url, stack.redis_url, f"results:{uuid.uuid4().hex}")
    yield made
    made.close()


@contextmanager
def connected(cache: ResultCache, url: str, **more: Any) -> Iterator[Any]:
    """A connection that asks it."""
    with cache.connection.connect(url, **{"autocommit": True, **more}) as connection:
        yield connection


def hits_of(cache: ResultCache) -> int:
    """How many results it served since it was last asked."""
    found, cache.counts["hits"] = cache.counts["hits"], 0
    return found
