"""An index is known by what it is: not by its name, and, where the source has it, by how often that has read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from archzero_lab.jobs.indexes.findings import IndexReport
from archzero_lab.jobs.indexes.verdict import IndexVerdict
from archzero_lab.postgres.connection import connect
from archzero_lab.servers.stack import Stack
from tests.integration.index_runs import index_request, measured
from tests.integration.shop import somebodys_database


def _verdicts(report: IndexReport) -> dict[str, IndexVerdict]:
    return {finding.name: finding.verdict for finding in report.findings}


def test_an_index_that_the_source_itself_has_read_is_not_dropped_for_a_list_that_does_not(
    stack: Stack, tmp_path: Path
) -> None:
    with somebodys_database(stack, "same_name", SAME_NAME) as url:
        with connect(url, autocommit=True) as connection:
            connection.execute("SET enable_seqscan = off")
            assert connection.execute("SELECT count(*) FROM a.orders WHERE c = 7").fetchone() == (20,)
            connection.execute("SELECT pg_stat_force_next_flush()")
        queries = {"q": "SELECT id FROM a.orders WHERE id = 7"}
        (finding,) = measured(stack, index_request(url, tmp_path, "DROP INDEX a.orders_c;", queries)).findings
    assert finding.verdict is IndexVerdict.UNDECIDED
    assert "the source has read it once since" in finding.why


SAME_NAME = """
CREATE SCHEMA a; CREATE SCHEMA b;
CREATE TABLE a.orders (id int PRIMARY KEY, c int); CREATE TABLE b.orders (id int PRIMARY KEY, c int);
INSERT INTO a.orders SELECT i, i % 5000 FROM generate_series(1, 100000) i;
INSERT INTO b.orders SELECT i, i % 5000 FROM generate_series(1, 100000) i;
CREATE INDEX orders_c ON a.orders (c);
CREATE TABLE yoyo_toys (id int, c text);
INSERT INTO yoyo_toys SELECT i, 'c' || i FROM generate_series(1, 100000) i;
ANALYZE;
"""


@pytest.mark.parametrize(
    ("migration", "query", "judged"),
    [
        ("CREATE INDEX orders_c ON b.orders (c);", "SELECT id FROM b.orders WHERE c = 7", {"b.orders_c": "keep"}),
        ("CREATE INDEX orders_c ON b.orders (c);", "SELECT id FROM a.orders WHERE c = 7",
         {"b.orders_c": "drop (nothing uses it)"}),
        ("DROP INDEX a.orders_c; CREATE INDEX orders_c ON a.orders (c) INCLUDE (id);",
         "SELECT id FROM a.orders WHERE c = 7", {"orders_c": "keep"}),
        ("CREATE INDEX toys_c ON yoyo_toys (c);", "SELECT id FROM yoyo_toys WHERE c = 'c7'", {"toys_c": "keep"}),
        ("DROP INDEX a.orders_c;", "SELECT id FROM a.orders WHERE c = 7", {"orders_c": "keep"}),
    ],
)  # fmt: skip
def test_an_index_is_known_by_what_it_is_and_not_by_its_name(
    stack: Stack, tmp_path: Path, migration: str, query: str, judged: dict[str, str]
) -> None:
    with somebodys_database(stack, "same_name", SAME_NAME) as url:
        report = measured(stack, index_request(url, tmp_path, migration, {"q": query}))
    assert {name: verdict.value for name, verdict in _verdicts(report).items()} == judged
