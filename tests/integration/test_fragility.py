"""Statements that are one ANALYZE away from a dear plan are found, with what cures them; others are robust."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from archzero_lab.jobs.indexes.fragility import plan_fragility
from archzero_lab.jobs.indexes.plan_shapes import Fragility, shape_in_words
from archzero_lab.jobs.indexes.request import IndexRequest
from archzero_lab.progress import Reporter
from archzero_lab.servers.stack import Stack
from tests.integration.shop import somebodys_database

# open jobs are few and the newest: who walks by id meets them last, and how many there are a small sample cannot tell
JOBS = """
CREATE TABLE jobs (id int PRIMARY KEY, state text NOT NULL, payload text NOT NULL);
INSERT INTO jobs SELECT n, CASE WHEN n > 199600 THEN 'open' ELSE 'done' END, repeat('x', 60)
FROM generate_series(1, 200000) AS n;
CREATE INDEX jobs_state ON jobs (state);
ANALYZE;
"""
QUERIES = {
    "next": "-- $1 = open\nSELECT * FROM jobs WHERE state = $1 ORDER BY id LIMIT 1",
    "one": "-- $1 = 77\nSELECT * FROM jobs WHERE id = $1",
}


def test_what_a_small_sample_turns_is_fragile_and_cured_by_a_larger_one_and_a_key_is_robust(
    stack: Stack, tmp_path: Path
) -> None:
    for name, text in QUERIES.items():
        (tmp_path / f"{name}.sql").write_text(text)
    with somebodys_database(stack, "jobs", JOBS) as url:
        request = IndexRequest(database_url=url, queries=tmp_path)
        found = plan_fragility(stack, request, 80, [10], Reporter(Console(quiet=True)))
    seen = {one.case: one for one in found.seen}
    assert set(seen) == {"next", "one", "next, any values", "one, any values"}
    assert {one.number for one in found.seen} == {80}
    assert seen["one"].verdict is Fragility.ROBUST
    turned = seen["next"]
    assert turned.verdict is Fragility.FRAGILE
    assert ["jobs_pkey" in shape_in_words(shape) for shape in turned.dear] == [True]
    assert turned.blocks[turned.dear[0]] > 100 * turned.least
    assert "read at most" in turned.in_words
    cures = {cure.statement.split(" jobs")[0]: cure.seen.dear for cure in found.cures["next"]}
    larger = next(statement for statement in cures if "SET STATISTICS 1000," in statement)
    assert cures[larger] == []
    assert any(cures.values()), "what two columns have in common is no cure here"
    assert set(found.cures) == {"next"}
    assert found.let_go == []
