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
    seen = {one.case: one for one in found.seen if one.target == 10}
    assert set(seen) == {
        "next",
        "next, absent",
        "next, beyond",
        "one",
        "one, beyond",
        "next, any values",
        "one, any values",
    }
    assert {one.number for one in seen.values()} == {80}
    assert {one.verdict for name, one in seen.items() if name.startswith("one")} == {Fragility.ROBUST}
    turned = seen["next"]
    assert turned.verdict is Fragility.FRAGILE
    assert ["jobs_pkey" in shape_in_words(shape) for shape in turned.dear] == [True]
    assert turned.work[turned.dear[0]]["next"].blocks > 100 * turned.best["next"]
    assert "read at most" in turned.in_words
    cures = {cure.statement: cure.seen for cure in found.cures["next"]}
    (larger,) = [cure for statement, cure in cures.items() if "SET STATISTICS 1000," in statement]
    assert larger.verdict is Fragility.FRAGILE, "with all rows read the walk is chosen every time: no cure"
    (together,) = [cure for statement, cure in cures.items() if statement.startswith("CREATE STATISTICS")]
    assert together.dear, "what two columns have in common is no cure here"
    (partial,) = [statement for statement in cures if statement.startswith("CREATE INDEX")]
    assert partial.endswith("""ON "public"."jobs" ("id") WHERE "state" = 'open'""")
    assert cures[partial].dear == [], "the rows that it is about are all of the index"
    (always,) = [cure for cure in found.cures["next, any values"] if "plan_cache_mode" in cure.statement]
    assert always.seen.case == "next", "planned with its values, this is the one that is dear most often"
    assert found.let_go == []


def test_a_load_without_analyze_may_make_a_plan_dear_and_small_tables_are_planned_once(
    stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "next.sql").write_text(QUERIES["next"])
    few = JOBS.replace("200000", "60000").replace("199600", "59970")
    with somebodys_database(stack, "jobs", few) as url:
        request = IndexRequest(database_url=url, queries=tmp_path)
        found = plan_fragility(stack, request, 80, [1000], Reporter(Console(quiet=True)))
    loaded, analyzed = (one for one in found.seen if one.case == "next")
    assert (loaded.state, analyzed.state) == ("loaded, not analyzed", "target 1000")
    assert (loaded.verdict, analyzed.verdict) == (Fragility.FRAGILE, Fragility.ROBUST)
    assert "another plan costs" in loaded.in_words
    assert analyzed.number == 1, "300 rows for each unit of the target are more than the table has"
    assert "next" not in found.cures, "its cure is ANALYZE"


def test_the_plan_for_any_values_is_measured_as_it_runs(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "of.sql").write_text("-- $1 = rare\nSELECT count(payload) FROM jobs WHERE state = $1")
    made = """
    CREATE TABLE jobs (id int PRIMARY KEY, state text NOT NULL, payload text NOT NULL);
    INSERT INTO jobs SELECT n, CASE WHEN n = 7 THEN 'rare' ELSE 'done' END, repeat('x', 60)
    FROM generate_series(1, 60000) AS n;
    CREATE INDEX jobs_state ON jobs (state);
    """
    with somebodys_database(stack, "jobs", made) as url:
        request = IndexRequest(database_url=url, queries=tmp_path)
        found = plan_fragility(stack, request, 5, [100], Reporter(Console(quiet=True)))
    own, generic = (next(one for one in found.seen if one.case == name and one.target == 100)
                    for name in ("of", "of, any values"))  # fmt: skip
    assert own.dear == []
    assert generic.verdict is Fragility.FRAGILE, "half of the rows are expected of either state: a scan of the table"


def test_a_statement_that_fails_when_it_runs_is_told_and_the_others_go_on(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "bad.sql").write_text("SELECT count(1 / (id - 5)) FROM jobs")
    (tmp_path / "one.sql").write_text(QUERIES["one"])
    few = JOBS.replace("200000", "2000").replace("199600", "1990")
    with somebodys_database(stack, "jobs", few) as url:
        request = IndexRequest(database_url=url, queries=tmp_path)
        found = plan_fragility(stack, request, 5, [100], Reporter(Console(quiet=True)))
    assert "bad" not in {one.case for one in found.seen}
    assert "one" in {one.case for one in found.seen}
    assert found.let_go == ["statement bad: division by zero"]
