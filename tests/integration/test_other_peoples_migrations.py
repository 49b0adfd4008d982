"""Migrations as people write them: linted, measured and applied alike, and what is said of their indexes is true."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from archzero_lab.jobs.indexes.lint import lint_schema
from archzero_lab.jobs.indexes.lint_locks import locks_taken
from archzero_lab.jobs.indexes.plans_only import plan_changes
from archzero_lab.jobs.indexes.query_cases import cases_of
from archzero_lab.jobs.indexes.session import raw_connection
from archzero_lab.postgres.advice import advise
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import drop_database
from archzero_lab.postgres.in_place import apply_in_place, read_migration
from archzero_lab.postgres.index_catalog import list_indexes
from archzero_lab.postgres.index_purposes import purposes
from archzero_lab.postgres.insights import analyze
from archzero_lab.postgres.sampled_copy import copy_sample
from archzero_lab.progress import Reporter
from archzero_lab.servers.stack import Stack
from tests.integration.index_runs import index_request, measured
from tests.integration.shop import somebodys_database


def _file(folder: Path, text: str) -> Path:
    file = folder / "migration.sql"
    file.write_text(text)
    return file


CLASSES = """
CREATE TABLE person (id int PRIMARY KEY, name varchar(60), doc jsonb, country text, born date);
CREATE INDEX person_name ON person (name);
CREATE INDEX person_doc ON person USING gin (doc jsonb_path_ops);
CREATE INDEX person_country ON person (country);
CREATE INDEX person_born ON person (born NULLS FIRST);
"""
OTHERS = """
CREATE INDEX person_name_like ON person (name varchar_pattern_ops);
CREATE INDEX person_doc_all ON person USING gin (doc);
CREATE INDEX person_country_c ON person (country COLLATE "C");
CREATE INDEX person_born_last ON person (born);
CREATE INDEX person_name_some ON person (name) WHERE country IS NOT NULL;
"""


def test_an_index_of_another_class_collation_or_order_is_no_repetition(stack: Stack, tmp_path: Path) -> None:
    with somebodys_database(stack, "classes", CLASSES) as url:
        rules = {fault.rule for fault in lint_schema(stack, url, _file(tmp_path, OTHERS))}
        assert "subsumed" not in rules
        same = _file(tmp_path, "CREATE INDEX person_again ON person (name);")
        assert [one.where for one in lint_schema(stack, url, same) if one.rule == "subsumed"] == ["person_again"]
        with connect(url, autocommit=True) as connection:
            connection.execute(OTHERS.encode())
            found = advise(analyze(connection), list_indexes(connection), purposes(connection), "today")
        assert [mark for mark in found if mark.mark == "duplicate"] == []


PARTS = """
CREATE TABLE log (id int, day date, note text) PARTITION BY RANGE (day);
CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (id);
CREATE TABLE log_2a PARTITION OF log_2 FOR VALUES IN (1, 2, 3);
CREATE TABLE log_2b PARTITION OF log_2 DEFAULT;
INSERT INTO log SELECT i, date '2026-01-01' + i % 59, 'n' FROM generate_series(1, 5000) i;
CREATE MATERIALIZED VIEW per_day AS SELECT day, count(*) AS n FROM log GROUP BY day;
CREATE UNIQUE INDEX per_day_day ON per_day (day);
"""


def test_an_index_of_a_partitioned_table_is_one_to_lint_and_to_advise(stack: Stack, tmp_path: Path) -> None:
    with somebodys_database(stack, "parts", PARTS) as url:
        faults = lint_schema(stack, url, _file(tmp_path, "CREATE INDEX log_id ON log (id);"))
        assert [fault.where for fault in faults if fault.rule == "ends-heap-only-updates"] == ["log_id"]
        with connect(url, autocommit=True) as connection:
            connection.execute("CREATE INDEX log_id ON log (id); CREATE INDEX log_id_day ON log (id, day)")
            connection.execute("INSERT INTO log SELECT i, '2026-01-05', 'n' FROM generate_series(1, 5000) i")
            connection.execute("SELECT pg_stat_force_next_flush()")
            found = advise(analyze(connection), list_indexes(connection), purposes(connection), "today")
        told = {(mark.mark, mark.about, mark.do) for mark in found}
        assert ("duplicate", "log_id", "DROP INDEX log_id") in told
        assert not [mark for mark in found if mark.about.startswith(("log_1", "log_2")) and "_idx" in mark.about]


def test_an_index_of_a_partitioned_table_is_built_in_place_part_by_part(stack: Stack, tmp_path: Path) -> None:
    with somebodys_database(stack, "parts", PARTS) as url:
        steps = read_migration(
            _file(tmp_path, "BEGIN;\nCREATE UNIQUE INDEX log_one ON log (day, id, note);\nCOMMIT;\n")
        )
        told: list[str] = []
        with connect(url, autocommit=True) as connection:
            connection.execute("DELETE FROM log a USING log b WHERE (a.id, a.day) = (b.id, b.day) AND a.ctid < b.ctid")
        apply_in_place(url, steps, told.append)
        apply_in_place(url, steps)  # again: nothing is left to do
        with connect(url, autocommit=True) as connection:
            built = connection.execute(
                "SELECT count(*), bool_and(i.indisvalid), bool_and(i.indisunique) FROM pg_partition_tree('log_one') t"
                " JOIN pg_index i ON i.indexrelid = t.relid"
            ).fetchone()
            assert built == (5, True, True)
            indexes = connection.execute("SELECT count(*) FROM pg_index i WHERE indrelid = 'log_1'::regclass")
            assert indexes.fetchone() == (1,)
        assert sum("CONCURRENTLY" in line for line in told) == 4  # the step as it was read, and three partitions


def test_what_wants_rows_is_passed_over_by_lint_and_run_with_them(stack: Stack, tmp_path: Path) -> None:
    file = _file(
        tmp_path,
        "REFRESH MATERIALIZED VIEW CONCURRENTLY per_day;\n"
        "DO $$ BEGIN IF (SELECT count(*) FROM log) = 0 THEN RAISE 'no rows'; END IF; END $$;\n"
        "VACUUM log_1;\nCREATE INDEX log_note ON log (note);\n",
    )
    with somebodys_database(stack, "parts", PARTS) as url:
        told: list[str] = []
        faults = lint_schema(stack, url, file, told.append)
        assert [line.partition(":")[0] for line in told] == ["not tried", "not tried"]
        assert "migration.sql line 1" in told[0]
        assert "no rows" in told[1]
        assert "log_note" in {fault.where for fault in faults}
        taken = locks_taken(stack, url, file)
    by_statement = {one.statement.split()[0]: one for one in taken}
    assert by_statement["VACUUM"].locks == (("its table", "ShareUpdateExclusiveLock"),)


@pytest.mark.parametrize("line", ["\\set x 1", "\\if true", "COPY t FROM stdin;\n1\n\\.", "COPY t FROM '/etc/passwd';"])
def test_psqls_own_commands_are_refused_alike_by_line(stack: Stack, tmp_path: Path, line: str) -> None:
    file = _file(tmp_path, f"SELECT 1;\n{line}\n")
    with somebodys_database(stack, "refused", "CREATE TABLE t (a int); INSERT INTO t VALUES (1);") as url:
        told = set()
        queries = tmp_path / "q"
        queries.mkdir()
        request = index_request(url, queries, file.read_text(), {"q": "SELECT a FROM t"})
        for attempt in (
            lambda: read_migration(file), lambda: lint_schema(stack, url, file),
            lambda: locks_taken(stack, url, file), lambda: measured(stack, request),
        ):  # fmt: skip
            with pytest.raises(Exception, match=r"migration\.sql line 2: ") as caught:
                attempt()
            told.add(str(caught.value))
        assert len(told) == 1


def test_odd_tables_are_sampled_and_written_to(stack: Stack, tmp_path: Path) -> None:
    columns = ", ".join(f"c{number} int" for number in range(1_599))
    made = f"""
        CREATE TABLE account (id int PRIMARY KEY);
        CREATE UNLOGGED TABLE session (id int PRIMARY KEY, account_id int REFERENCES account);
        INSERT INTO account SELECT generate_series(1, 3000);
        INSERT INTO session SELECT i, 1 + i % 3000 FROM generate_series(1, 9000) i;
        CREATE TABLE wide (id int, {columns});
        INSERT INTO wide (id) SELECT generate_series(1, 3000);
        ANALYZE;
    """
    name = stack.database_name("sampled")
    with somebodys_database(stack, "odd", made) as url:
        try:
            copy = copy_sample(url, stack.postgres_url, name, stack.postgres_programs, 500)
            with connect(copy.url) as connection:
                orphans = connection.execute(
                    "SELECT count(*), count(a.id) FROM session s LEFT JOIN account a ON a.id = s.account_id"
                ).fetchone()
            assert orphans is not None
            assert orphans[0] == orphans[1] > 100
        finally:
            drop_database(stack.postgres_url, name)
        report = measured(
            stack,
            index_request(
                url, tmp_path, 'CREATE INDEX "Ix [/bold]" ON wide (id);', {"q": "SELECT id FROM wide WHERE id = 7"}
            ),
        )
    (finding,) = report.findings
    assert (finding.name, finding.cost) == ("Ix [/bold]", None)


THINGS = """
CREATE TABLE t (id int PRIMARY KEY, k int, j jsonb, name text, at timestamptz, tags text[], v tsvector, stay tstzrange);
INSERT INTO t SELECT i, i % 500, jsonb_build_object('k', i % 900), 'N' || i, now() - i * interval '1 min',
    ARRAY['tag' || i % 7, 'all'], to_tsvector('simple', 'word' || i % 50 || ' every'),
    tstzrange(now() - i * interval '1 min', now()) FROM generate_series(1, 20000) i;
ANALYZE;
"""


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id FROM t WHERE k = ANY ($1)",
        "SELECT id FROM t WHERE k = ANY ($1::int[])",
        "WITH q AS (SELECT DISTINCT unnest($1::int[]) AS k) SELECT id FROM t JOIN q ON q.k = t.k WHERE t.k = ANY ($1)",
        "SELECT id FROM t WHERE j ->> 'k' = $1",
        "SELECT id FROM t WHERE j @> $1",
        "SELECT id FROM t WHERE lower(name) = $1",
        "SELECT id FROM t WHERE lower(name) = lower($1)",
        "SELECT id FROM t WHERE at BETWEEN $1 AND $2",
        "SELECT id FROM t WHERE k IN ($1, $2, $3)",
        "SELECT id FROM t WHERE (at, id) < ($1, $2) ORDER BY at DESC, id DESC LIMIT $3",
        "SELECT id FROM t WHERE at > now() - $1::interval",
        "SELECT id FROM t WHERE v @@ to_tsquery('simple', $1)",
        "SELECT id FROM t WHERE $1 = ANY (tags)",
        "SELECT id FROM t WHERE tags @> $1",
        "SELECT id FROM t WHERE stay @> $1::timestamptz",
        "SELECT id FROM t WHERE name LIKE ?",
        "SELECT id FROM t WHERE name = :name OR k = :k",
        "SELECT id FROM t WHERE name = %s",
        "SELECT $1::int AS one, count(*) FROM t WHERE k = $2 GROUP BY 1 HAVING count(*) > $3",
        "UPDATE t SET name = $1 WHERE id = $2",
    ],
)
def test_parameters_get_values_that_the_statement_finds_rows_with(stack: Stack, text: str) -> None:
    with somebodys_database(stack, "things", THINGS) as url, raw_connection(url) as connection:
        found = [
            connection.execute(case.sql.encode(), case.values).rowcount for case in cases_of(connection, "q", text)
        ]
    assert max(found) >= 1


def test_a_range_encloses_a_half_a_hundredth_and_a_tenth_and_a_list_differs(stack: Stack) -> None:
    with somebodys_database(stack, "things", THINGS) as url, raw_connection(url) as connection:
        cases = cases_of(connection, "q", "SELECT id FROM t WHERE at BETWEEN $1 AND $2")
        counted = [connection.execute(case.sql.encode(), case.values).rowcount for case in cases]
        assert [round(count / 20_000, 2) for count in counted] == pytest.approx([0.5, 0.01, 0.1], abs=0.03)
        (common, *_) = cases_of(connection, "q", "SELECT id FROM t WHERE k IN ($1, $2, $3)")
        assert len(set(common.values)) == 3


def test_plans_alone_know_the_parts_of_a_partitioned_tables_index(stack: Stack, tmp_path: Path) -> None:
    if stack.settings.servers == "system":
        pytest.skip("restored statistics want the lab's own PostgreSQL 18")
    with somebodys_database(stack, "parts", PARTS + "ANALYZE;") as url:
        queries = {"q": "SELECT note FROM log WHERE id = 17 AND day = '2026-01-18'"}
        request = index_request(url, tmp_path, "CREATE INDEX log_id ON log (id);", queries)
        (change,) = plan_changes(stack, request, Reporter(Console(quiet=True)))
    assert change.before.indexes == ()
    assert change.after.indexes == ("log_1_id_idx",)
