"""Statements whose filters are optional: the indexes that a call with one filter uses are never a drop."""

from __future__ import annotations

from pathlib import Path

import pytest

from archzero_lab.jobs.indexes.query_cases import cases_of
from archzero_lab.jobs.indexes.session import raw_connection
from archzero_lab.jobs.indexes.verdict import IndexVerdict
from archzero_lab.servers.stack import Stack
from tests.integration.index_runs import index_request, measured
from tests.integration.shop import somebodys_database

LINES = """
CREATE TABLE line (task bigint, at int, tenant int NOT NULL, level text NOT NULL, key text, PRIMARY KEY (task, at));
INSERT INTO line SELECT i, i, i % 4, CASE i % 1000 WHEN 0 THEN 'error' ELSE 'info' END, 'k' || i % 9000
FROM generate_series(1, 60000) i;
CREATE TABLE part (id int, at int NOT NULL, tenant int NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
INSERT INTO part SELECT i, i % 100, i % 7 FROM generate_series(1, 3000) i;
ANALYZE;
"""
QUERY = (
    "SELECT count(*) FROM line WHERE tenant = $1 AND ($2::text IS NULL OR level = $2::text)"
    " AND ($3::bigint[] IS NULL OR task = ANY($3::bigint[])) AND (key = $4 OR $4::text IS NULL)"
)


def test_a_filter_that_may_be_left_away_is_tried_alone_and_what_it_reads_stays(stack: Stack, tmp_path: Path) -> None:
    migration = (
        "CREATE INDEX line_level ON line (tenant, level); CREATE INDEX line_key ON line (tenant, key);"
        " CREATE INDEX line_idle ON line (at, key);"
    )
    with somebodys_database(stack, "optional", LINES) as url:
        with raw_connection(url) as connection:
            cases = {case.name: case.values for case in cases_of(connection, "lines", QUERY)}
        assert {name for name in cases if "alone" in name or "nothing" in name} == {
            "lines, nothing optional", "lines, $2 alone", "lines, $3 alone", "lines, $4 alone"
        }  # fmt: skip
        assert cases["lines, $2 alone"][2:] == (None, None)
        request = index_request(url, tmp_path, migration, {"lines": "-- $2 = error\n" + QUERY})
        found = {one.name: one for one in measured(stack, request).findings}
    for name in ("line_level", "line_key"):
        assert found[name].verdict in (IndexVerdict.KEEP, IndexVerdict.UNDECIDED), found[name].why
        assert any("alone" in case for case in found[name].used_by)
    assert found["line_idle"].verdict is IndexVerdict.DROP_UNUSED


def test_a_parameter_may_be_given_as_null_and_one_of_a_partitioned_table_is_known(stack: Stack) -> None:
    with somebodys_database(stack, "optional_null", LINES) as url, raw_connection(url) as connection:
        query = "SELECT * FROM line WHERE tenant = $1 AND ($2::text IS NULL OR level = $2)"
        (case,) = cases_of(connection, "lines", "-- $1 = 3\n-- $2 = NULL\n" + query)
        assert case.values == ("3", None)
        cases = cases_of(connection, "parts", "SELECT * FROM part WHERE tenant = $1 AND at > $2")
        assert all(case.values[0] in "0123456" for case in cases)


def test_a_call_without_a_filter_that_postgresql_refuses_costs_itself(stack: Stack) -> None:
    query = "SELECT * FROM line WHERE tenant = $1 AND at > 1000 / coalesce($2::int, 0)"
    with somebodys_database(stack, "optional_refused", LINES) as url, raw_connection(url) as connection:
        cases = cases_of(connection, "shares", "-- $2 = 5\n" + query)
    assert cases
    assert all(case.values[1] == "5" for case in cases)


@pytest.mark.parametrize("query", ["SELECT (SELECT max(at) FROM line) AS latest, * FROM line WHERE key = $1 LIMIT 3"])
def test_what_a_subplan_returns_is_taken_for_no_parameter(stack: Stack, query: str) -> None:
    with somebodys_database(stack, "optional_initplan", LINES) as url, raw_connection(url) as connection:
        for case in cases_of(connection, "latest", query):
            assert str(case.values[0]).startswith("k")
