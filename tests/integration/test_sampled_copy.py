"""A sample of somebody's database: random rows, their parents by whatever foreign keys, and the source as it was."""

from __future__ import annotations

import pytest

from archzero_lab.errors import DatabaseError, SettingsError
from archzero_lab.jobs.indexes.request import IndexRequest, check_request
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import drop_database
from archzero_lab.postgres.foreign_copy import statistics_of
from archzero_lab.postgres.sampled_copy import copy_sample
from archzero_lab.servers.stack import Stack
from tests.integration.shop import SHOP, somebodys_database

TREES = """
CREATE SCHEMA "Odd one";
CREATE TABLE "Odd one".node (
    id bigint PRIMARY KEY, up bigint REFERENCES "Odd one".node, "the Text" text NOT NULL,
    twice bigint GENERATED ALWAYS AS (id * 2) STORED
);
CREATE TABLE "Odd one".pair (a int, b date, filler text, UNIQUE (a, b));
CREATE TABLE "Odd one".leaf (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b date, node bigint NOT NULL REFERENCES "Odd one".node,
    FOREIGN KEY (a, b) REFERENCES "Odd one".pair (a, b)
);
CREATE TABLE "Odd one".hen (id int PRIMARY KEY, egg int);
CREATE TABLE "Odd one".egg (id int PRIMARY KEY, hen int REFERENCES "Odd one".hen);
CREATE TABLE "Odd one".part (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE "Odd one".part_1 PARTITION OF "Odd one".part FOR VALUES FROM (0) TO (5000);
CREATE TABLE "Odd one".part_2 PARTITION OF "Odd one".part FOR VALUES FROM (5000) TO (10000);
CREATE TABLE "Odd one".of_part (id int PRIMARY KEY, part int REFERENCES "Odd one".part);
INSERT INTO "Odd one".node (id, up, "the Text")
    SELECT n, CASE WHEN n > 40 THEN n - 37 END, 'node ' || n FROM generate_series(1, 20000) n;
INSERT INTO "Odd one".pair SELECT n, date '2026-01-01' + n % 500, repeat('x', 100) FROM generate_series(1, 20000) n;
INSERT INTO "Odd one".leaf (a, b, node)
    SELECT CASE WHEN n % 5 > 0 THEN n END, date '2026-01-01' + n % 500, 1 + n % 20000 FROM generate_series(1, 20000) n;
INSERT INTO "Odd one".hen SELECT n, 20001 - n FROM generate_series(1, 20000) n;
INSERT INTO "Odd one".egg SELECT n, n FROM generate_series(1, 20000) n;
ALTER TABLE "Odd one".hen ADD FOREIGN KEY (egg) REFERENCES "Odd one".egg DEFERRABLE;
INSERT INTO "Odd one".part SELECT generate_series(0, 9999);
INSERT INTO "Odd one".of_part SELECT n, (n * 7) % 10000 FROM generate_series(1, 20000) n;
CREATE TABLE "Odd one".orphan (id int);
INSERT INTO "Odd one".orphan SELECT generate_series(20001, 20100);
ALTER TABLE "Odd one".orphan ADD CONSTRAINT later FOREIGN KEY (id) REFERENCES "Odd one".hen (id) NOT VALID;
ANALYZE;
"""


def _counts(url: str) -> dict[str, int]:
    found = {}
    with connect(url) as connection:
        for table in ("node", "pair", "leaf", "hen", "egg", "part", "of_part", "orphan"):
            row = connection.execute(f'SELECT count(*) FROM "Odd one".{table}'.encode()).fetchone()
            assert row is not None
            found[table] = row[0]
    return found


def test_a_sample_has_about_so_many_rows_and_every_parent_they_need(stack: Stack) -> None:
    name = stack.database_name("sampled")
    with somebodys_database(stack, "trees", TREES) as source:
        before = _counts(source)
        try:
            counts = []
            for _ in range(2):
                url = copy_sample(source, stack.postgres_url, name, stack.postgres_programs, 1_000, seed=3).url
                counts.append(_counts(url))
            with connect(url) as connection:
                keys = connection.execute(
                    "SELECT count(*), count(*) FILTER (WHERE convalidated) FROM pg_constraint"
                    " WHERE contype = 'f' AND conparentid = 0"
                ).fetchone()
                rows = connection.execute('SELECT id, "the Text", twice FROM "Odd one".node').fetchall()
        finally:
            drop_database(stack.postgres_url, name)
        assert _counts(source) == before
    assert counts[0] == counts[1]
    # PostgreSQL has checked each foreign key as it was made, but the one that the source never checked either
    assert keys == (7, 6)
    assert all(text == f"node {number}" and twice == 2 * number for number, text, twice in rows)
    found = counts[0]
    assert 500 <= found["leaf"] <= 1_000
    assert 500 <= found["of_part"] <= 1_000
    # their own samples, the parents of others, and the parents of those
    assert found["leaf"] < found["node"] < 20_000
    assert 1_000 < found["pair"] <= 3_000
    assert 1_000 < found["part"] <= 5_000
    assert 500 <= found["hen"] <= 20_000
    assert 500 <= found["egg"] <= 20_000
    assert found["orphan"] == 100


def test_a_table_that_is_smaller_than_the_sample_comes_whole(stack: Stack) -> None:
    name = stack.database_name("sampled")
    with somebodys_database(stack, "small_shop") as source:
        try:
            url = copy_sample(source, stack.postgres_url, name, stack.postgres_programs, 3_000).url
            with connect(url) as connection:
                row = connection.execute(
                    'SELECT (SELECT count(*) FROM shop.customer), (SELECT count(*) FROM shop."Order"),'
                    " (SELECT count(*) FROM shop.event)"
                ).fetchone()
        finally:
            drop_database(stack.postgres_url, name)
    assert row is not None
    assert row[0] == 2_000
    assert 1_500 <= row[1] <= 3_000
    assert row[2] == 2_000


def test_a_sample_is_planned_with_the_statistics_of_the_whole(stack: Stack) -> None:
    def estimates(url: str) -> list[tuple[object, ...]]:
        with connect(url) as connection:
            return connection.execute(
                "SELECT tablename, attname, n_distinct, most_common_vals::text, most_common_freqs,"
                " histogram_bounds::text, correlation FROM pg_stats WHERE schemaname = 'shop' ORDER BY 1, 2"
            ).fetchall()

    name = stack.database_name("sampled")
    tables = ("shop.customer", 'shop."Order"', "shop.event_2026")
    # from the beginning: an ANALYZE that is on its way when it is stopped makes others meanwhile
    off = "".join(f"ALTER TABLE {table} SET (autovacuum_enabled = false);" for table in tables)
    with somebodys_database(stack, "whole_shop", SHOP.replace("INSERT", off + "INSERT", 1)) as source:
        whole = estimates(source)
        with statistics_of(source, stack.postgres_programs) as give:
            if give is None:
                assert stack.settings.servers == "system", "the lab's own PostgreSQL 18 has them"
                return
            with connect(source, autocommit=True) as connection:
                for table in tables:
                    connection.execute(f"ALTER TABLE {table} RESET (autovacuum_enabled)")
            try:
                url = copy_sample(source, stack.postgres_url, name, stack.postgres_programs, 1_000).url
                assert estimates(url) != whole
                give(url)
                assert estimates(url) == whole
                with connect(url, autocommit=True) as copy:  # common values, where the source has none
                    copy.execute("UPDATE shop.event_2026 SET what = 'the same'")
                    copy.execute("ANALYZE shop.event_2026")
                assert estimates(url) != whole
                give(url)
                assert estimates(url) == whole
                with connect(url) as copy:
                    kept = copy.execute(
                        "SELECT reloptions FROM pg_class WHERE relnamespace = 'shop'::regnamespace AND relkind = 'r'"
                    ).fetchall()
                assert kept == [(["autovacuum_enabled=false"],)] * 3, "an ANALYZE of its own would make the sample's"
            finally:
                drop_database(stack.postgres_url, name)


def test_what_cannot_be_sampled_leaves_nothing_behind(stack: Stack) -> None:
    with somebodys_database(stack, "closed_shop") as source:
        with connect(source, autocommit=True) as connection:
            connection.execute("CREATE ROLE archzero_lab_blind LOGIN PASSWORD 'blind'")
        blind = source.replace(source.split("//")[1].split("@")[0], "archzero_lab_blind:blind")
        try:
            with pytest.raises(DatabaseError, match="permission denied"):
                copy_sample(blind, stack.postgres_url, stack.database_name("sampled"), stack.postgres_programs, 10)
        finally:
            with connect(source, autocommit=True) as connection:
                connection.execute("DROP ROLE archzero_lab_blind")
        assert "sampled" not in stack.databases()
    with pytest.raises(SettingsError, match="--sample is of a database of your own"):
        check_request(IndexRequest(sample=10))
