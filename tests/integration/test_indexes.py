"""The index experiment on a copy of a database with other tables than ours: verdicts, costs, bad input."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from rich.console import Console

from archzero_lab.bootstrap.stack import Stack
from archzero_lab.errors import DatabaseError, LabError, SettingsError
from archzero_lab.experiments.index_reads import Case, Reads
from archzero_lab.experiments.index_verdict import KEPT, IndexReport, IndexVerdict
from archzero_lab.experiments.query_cases import cases_of
from archzero_lab.pipeline.index_experiment import raw_connection
from archzero_lab.pipeline.indexes import IndexRequest, measure_indexes, programs_of
from archzero_lab.pipeline.lint import lint_files, lint_schema
from archzero_lab.pipeline.plans_only import plan_changes
from archzero_lab.pipeline.progress import Reporter
from archzero_lab.postgres import foreign_copy
from archzero_lab.postgres.advice import advise
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.postgres.foreign_copy import copy_database
from archzero_lab.postgres.in_place import apply_in_place, read_migration
from archzero_lab.postgres.index_catalog import hidden, list_indexes
from archzero_lab.postgres.insights import analyze
from archzero_lab.postgres.migrations import MIGRATIONS, connect
from archzero_lab.settings import ROOT

pytestmark = pytest.mark.alone

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


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Iterator[str]:
    """Somebody's database."""
    name = stack.database_name("shop")
    url = create_database(stack.postgres_url, name)
    with connect(url, autocommit=True) as connection:
        connection.execute(SHOP.encode())
    yield url
    drop_database(stack.postgres_url, name)


def _state(url: str) -> str:
    """Everything of it that a change would change."""
    with connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT c.relname, c.relkind, pg_get_indexdef(c.oid), pg_relation_size(c.oid) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'shop' ORDER BY 1"
        ).fetchall()
        counts = connection.execute('SELECT count(*), sum(total) FROM shop."Order"').fetchall()
    return hashlib.sha256(repr((rows, counts)).encode()).hexdigest()


def _request(shop: str, folder: Path, migration: str = MIGRATION, queries: dict[str, str] = QUERIES) -> IndexRequest:
    (folder / "queries").mkdir()
    for name, text in queries.items():
        (folder / "queries" / f"{name}.sql").write_text(text + ";\n")
    file = folder / "migration.sql"
    file.write_text(migration)
    return IndexRequest(database_url=shop, migration=file, queries=folder / "queries", blocks=6)


def _measure(stack: Stack, request: IndexRequest) -> IndexReport:
    try:
        return measure_indexes(stack, request, Reporter(Console(quiet=True)))[1]
    finally:
        assert "copy" not in stack.databases(), "the copy stayed"


def test_each_index_of_a_strange_database_has_its_verdict_and_the_database_is_as_before(
    stack: Stack, shop: str, tmp_path: Path
) -> None:
    before = _state(shop)
    found = _measure(stack, _request(shop, tmp_path))
    assert _state(shop) == before
    by_name = {finding.name: finding for finding in found.findings}
    verdicts = {name: finding.verdict for name, finding in by_name.items()}
    assert set(verdicts) == {"order_customer", "order_customer_state", "order_total", "customer_pair", "order_once"}
    assert verdicts["order_total"] is IndexVerdict.DROP_UNUSED
    assert verdicts["order_once"] is IndexVerdict.KEEP_CONSTRAINT
    assert verdicts["customer_pair"] is IndexVerdict.KEEP_CONSTRAINT
    # one of the two for a customer is enough, whichever the planner took: never are both to go
    pair = [verdicts["order_customer"], verdicts["order_customer_state"]]
    assert any(verdict in KEPT for verdict in pair), pair
    assert found.slower_without_dropped == []
    # without both it is a scan of the whole table
    customers = [loss for loss in found.whole if loss.statement.startswith("of a customer")]
    assert customers
    assert all(loss.ci_low > 2 for loss in customers)
    for name in ("order_customer", "order_customer_state", "order_total"):
        cost = by_name[name].cost
        assert cost is not None
        assert cost.wal_records == pytest.approx(1.0, abs=0.35), "an index adds a record a row"
        assert cost.wal_bytes > 20
        assert by_name[name].build_s is not None
    total = by_name["order_total"].cost
    assert total is not None
    assert total.hot_lost == ("total",)
    assert found.rows == {"shop.Order": 40_000, "shop.customer": 2_000}


def test_parameters_become_cases_of_common_rare_and_middle_values(shop: str) -> None:
    with raw_connection(shop) as connection:
        cases = cases_of(connection, "orders", QUERIES["of a customer"])
        states = {case.values[1] for case in cases}
        assert {case.name for case in cases} <= {"orders, common", "orders, rare", "orders, middle"}
        assert len(states) == 2
        assert states <= {"open", "paid", "sent"}
        assert all(case.values[2] == "20" for case in cases)
        (mail,) = cases_of(connection, "mail", QUERIES["by mail"])
        assert str(mail.values[0]).endswith("@example.org")
        found = cases_of(connection, "like", "SELECT * FROM shop.event WHERE what ILIKE $1")
        assert all(str(case.values[0]).startswith("%") for case in found)
        marks = ", ".join(f"${number}" for number in range(1, 10))
        listed = cases_of(connection, "list", f"SELECT * FROM shop.event WHERE what IN ({marks}) LIMIT $10")
        assert all(str(value).startswith("event ") for case in listed for value in case.values[:9])
        assert {case.values[9] for case in listed} == {"20"}
        with pytest.raises(DatabaseError, match=r"statement odd: nothing is known of \$1; write"):
            cases_of(connection, "odd", "SELECT $1::int + 1")


@pytest.mark.parametrize(
    ("migration", "queries", "told"),
    [
        (MIGRATION + "\nCREATE INDEX wrong ON shop.nowhere (x);\n", QUERIES, r"migration.sql: .*:8: ERROR: .*nowhere"),
        (MIGRATION, {"bad": "SELEC 1"}, r'statement bad: syntax error at or near "SELEC" \(at character'),
        (MIGRATION, {"bad": "SELECT * FROM shop.gone WHERE x = $1"}, r'bad: relation "shop.gone" does not exist'),
        ("ANALYZE;", QUERIES, "makes no index"),
    ],
)  # fmt: skip
def test_bad_input_says_what_and_where_and_leaves_nothing(
    stack: Stack, shop: str, tmp_path: Path, migration: str, queries: dict[str, str], told: str
) -> None:
    before = _state(shop)
    with pytest.raises(LabError, match=told):
        _measure(stack, _request(shop, tmp_path, migration, queries))
    assert _state(shop) == before


def test_a_url_keeps_whatever_it_says_and_its_password_is_in_no_command(
    stack: Stack, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    run = subprocess.run

    def seen(command: list[str], **given: Any) -> Any:
        commands.append(" ".join(command))
        return run(command, **given)

    monkeypatch.setattr(foreign_copy.subprocess, "run", seen)
    url = shop + "?application_name=theirs&options=-c%20search_path%3Dshop"
    name = stack.database_name("copied")
    copy_database(url, stack.postgres_url, name, programs_of(stack), "schema")
    drop_database(stack.postgres_url, name)
    assert "application_name=theirs" in commands[0]
    password = shop.split(":")[2].split("@")[0]
    assert not any(password in command for command in commands)


def test_a_role_that_may_not_read_is_told_the_table(stack: Stack, shop: str, tmp_path: Path) -> None:
    with connect(shop, autocommit=True) as connection:
        connection.execute("CREATE ROLE archzero_lab_poor LOGIN PASSWORD 'poor'")
    poor = shop.replace(shop.split("//")[1].split("@")[0], "archzero_lab_poor:poor")
    try:
        with pytest.raises(DatabaseError, match=r"reading it: .*permission denied") as caught:
            _measure(stack, _request(poor, tmp_path))
        assert ":poor" not in str(caught.value)
    finally:
        with connect(shop, autocommit=True) as connection:
            connection.execute("DROP ROLE archzero_lab_poor")


def test_a_hidden_index_is_in_no_plan_and_back_afterwards(shop: str) -> None:
    with raw_connection(shop) as connection:
        (unique,) = [index for index in list_indexes(connection) if index.name == "customer_e-Mail_key"]
        reads = Reads(connection, [Case("mail", QUERIES["by mail"], ("c7@example.org",))], 6, 1)
        reads.explain_all()
        assert reads.plans["mail"].indexes == ("customer_e-Mail_key",)
        assert reads.explain(reads.cases[0], [unique]).indexes == ()
        assert reads.explain(reads.cases[0], ()).indexes == ("customer_e-Mail_key",)
        with hidden(connection, [unique]), connect(shop) as other:
            row = other.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::oid", [unique.oid]).fetchone()
            assert row == (True,)  # others see it as it is


def test_a_schema_adds_to_what_the_sql_alone_tells(stack: Stack, shop: str, tmp_path: Path) -> None:
    before = _state(shop)
    file = tmp_path / "migration.sql"
    file.write_text(MIGRATION)
    found = {fault.where: fault for fault in lint_schema(stack, shop, file)}
    assert found["order_customer"].rule == "subsumed"
    assert "order_customer_state serves" in found["order_customer"].message
    assert found["order_total"].rule == "ends-heap-only-updates"
    assert "an update of total in shop.Order" in found["order_total"].message
    assert _state(shop) == before
    assert "lint" not in stack.databases()
    with connect(shop, autocommit=True) as connection:
        connection.execute('CREATE INDEX half_built ON shop."Order" (placed)')
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'shop.half_built'::regclass")
        try:
            left = [fault for fault in lint_schema(stack, shop, file) if fault.rule == "invalid-leftover"]
        finally:
            connection.execute("DROP INDEX shop.half_built")
    assert [fault.where for fault in left] == ["half_built"]
    assert left[0].advice == "DROP INDEX CONCURRENTLY shop.half_built"


def test_squawk_finds_what_blocks_writes_and_ours_have_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "bad.sql"
    file.write_text("SELECT 1;\nCREATE INDEX x ON t (a);\n")
    found = lint_files([file])
    assert (f"{file}:2", "require-concurrent-index-creation") in {(fault.where, fault.rule) for fault in found}
    ours = [path for path in MIGRATIONS.glob("*.sql") if not path.name.endswith(".rollback.sql")]
    assert len(ours) == 26
    assert lint_files(ours) == []
    with pytest.raises(SettingsError, match=r"nowhere\.sql: no such file"):
        lint_files([tmp_path / "nowhere.sql"])


def test_plans_without_rows_are_those_of_the_source(stack: Stack, shop: str, tmp_path: Path) -> None:
    request = _request(shop, tmp_path)
    if stack.settings.servers == "system":
        with pytest.raises(LabError, match="wants the lab's own PostgreSQL 18"):
            plan_changes(stack, request, Reporter(Console(quiet=True)))
        return
    before = _state(shop)
    found = {change.statement: change for change in plan_changes(stack, request, Reporter(Console(quiet=True)))}
    assert _state(shop) == before
    assert "plans" not in stack.databases()
    with raw_connection(shop) as connection:
        real = Reads(connection, cases_of(connection, "all", QUERIES["all"]), 6, 1)
        real.explain_all()
    same = found["all"]
    assert [node.label for node in same.before.root.walk()] == [node.label for node in real.plans["all"].root.walk()]
    assert same.costs[0] == pytest.approx(real.plans["all"].root.total_cost, rel=0.02)
    assert same.costs[1] == pytest.approx(same.costs[0], rel=0.02)
    customers = [change for name, change in found.items() if name.startswith("of a customer")]
    assert customers
    for change in customers:
        assert change.before.indexes in ((), ("Order_pkey",))
        assert set(change.after.indexes) & {"order_customer", "order_customer_state"}
        assert change.costs[1] < 0.5 * change.costs[0]


def test_the_busiest_statements_come_from_the_server_itself(
    stack: Stack, shop: str, tmp_path: Path, make_database: Callable[[str], str]
) -> None:
    with connect(shop, autocommit=True) as connection:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            connection.execute("SELECT pg_stat_statements_reset()")
        except psycopg.Error:
            pytest.skip("this server has no pg_stat_statements loaded")
        for number in range(30):
            connection.execute(f"SELECT * FROM shop.\"Order\" WHERE customer_id = {number} AND state = 'paid'")
    request = _request(shop, tmp_path)
    found = _measure(stack, IndexRequest(database_url=shop, migration=request.migration, from_statistics=1, blocks=6))
    assert {loss.statement.partition(",")[0] for loss in found.whole} == {"statement 1"}
    assert any(finding.used_by for finding in found.findings if finding.table == "shop.Order")


def test_analyze_marks_what_it_would_do_and_does_nothing(stack: Stack, make_database: Callable[[str], str]) -> None:
    name = stack.database_name("marks")
    url = create_database(stack.postgres_url, name)
    try:
        with connect(url, autocommit=True) as connection:
            for part in (
                "CREATE TABLE a (id int PRIMARY KEY, x int NOT NULL, y int, t text)",
                "CREATE TABLE b (a_id int REFERENCES a)",
                "INSERT INTO a SELECT n, n, n, repeat('x', 60) FROM generate_series(1, 300000) AS n",
                "CREATE INDEX a_x ON a (x)",
                "CREATE INDEX a_xy ON a (x, y)",
                "CREATE INDEX a_half ON a (y)",
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'a_half'::regclass",
                "CREATE INDEX a_big ON a (t, id)",
                "DELETE FROM a WHERE id % 10 > 0",
                "VACUUM ANALYZE a",
                "INSERT INTO b VALUES (10)",
                "SELECT pg_stat_force_next_flush()",
            ):
                connection.execute(part.encode())
        with connect(url, autocommit=True) as connection:
            found = advise(analyze(connection), list_indexes(connection))
            marks = {(mark.mark, mark.about) for mark in found}
            assert {("invalid", "a_half"), ("duplicate", "a_x"), ("unused", "a_xy"), ("foreign key", "b.b_a_id_fkey"),
                    ("never analyzed", "b"), ("bloated", "a_big")} <= marks  # fmt: skip
            assert ("duplicate", "a_xy") not in marks
            assert ("unused", "a_pkey") not in marks
            (key,) = [mark for mark in found if mark.mark == "foreign key"]
            assert key.do == "CREATE INDEX CONCURRENTLY ON b (a_id)"
            connection.execute(key.do.encode())
            assert "foreign key" not in {mark.mark for mark in advise(analyze(connection), list_indexes(connection))}
            row = connection.execute("SELECT count(*) FROM pg_index WHERE indrelid = 'a'::regclass").fetchone()
            assert row == (5,)
    finally:
        drop_database(stack.postgres_url, name)


IN_PLACE = """
-- the index of a comment; and a semicolon
CREATE UNIQUE INDEX "Odd; name" ON shop.customer ("e-Mail", id);
CREATE INDEX CONCURRENTLY order_state ON shop."Order" (state);
COMMENT ON TABLE shop.customer IS 'customers; all of them';
"""


@pytest.fixture
def theirs(stack: Stack) -> Iterator[str]:
    """A database that may be changed."""
    name = stack.database_name("theirs")
    url = create_database(stack.postgres_url, name)
    with connect(url, autocommit=True) as connection:
        connection.execute(SHOP.encode())
    yield url
    drop_database(stack.postgres_url, name)


def _valid(url: str) -> dict[str, bool]:
    with connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'shop'"
        ).fetchall()
    return {str(name): bool(valid) for name, valid in rows}


def test_in_place_builds_concurrently_and_mends_what_a_failed_build_left(theirs: str, tmp_path: Path) -> None:
    file = tmp_path / "in_place.sql"
    file.write_text(IN_PLACE)
    statements = read_migration(file)
    assert [statement.startswith("CREATE ") for statement in statements] == [True, True, False]
    assert "UNIQUE INDEX CONCURRENTLY IF NOT EXISTS" in statements[0]
    with connect(theirs, autocommit=True) as connection:
        connection.execute('CREATE INDEX order_state ON shop."Order" (total)')
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'shop.order_state'::regclass")
    apply_in_place(theirs, statements)
    assert _valid(theirs)["order_state"]
    assert _valid(theirs)["Odd; name"]
    with connect(theirs) as connection:
        row = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'order_state'").fetchone()
    assert row is not None
    assert "(state)" in row[0]
    apply_in_place(theirs, statements)  # again: nothing to do, nothing fails


def test_in_place_ends_at_the_statement_that_fails_and_leaves_no_invalid_index(theirs: str, tmp_path: Path) -> None:
    file = tmp_path / "in_place.sql"
    file.write_text('CREATE UNIQUE INDEX twice ON shop."Order" (customer_id); CREATE INDEX never ON shop."Order" (id);')
    with pytest.raises(DatabaseError, match=r"INDEX CONCURRENTLY IF NOT EXISTS twice .*could not create unique index"):
        apply_in_place(theirs, read_migration(file))
    assert not {"twice", "never"} & _valid(theirs).keys()
    file.write_text('CREATE INDEX ON shop."Order" (id);')
    with pytest.raises(DatabaseError, match="an index without a name"):
        read_migration(file)


def test_in_place_waits_its_turn_for_a_lock(theirs: str) -> None:
    with connect(theirs) as holder:
        holder.execute('LOCK TABLE shop."Order" IN ROW EXCLUSIVE MODE')
        timer = threading.Timer(6.0, holder.commit)  # after the first attempt has given up
        timer.start()
        apply_in_place(theirs, ['ALTER TABLE shop."Order" ADD COLUMN note text'])
        timer.join()
    with connect(theirs) as connection:
        assert connection.execute('SELECT note FROM shop."Order" LIMIT 1').fetchone() == (None,)


def test_in_place_asks_for_the_name_of_the_database(theirs: str, tmp_path: Path) -> None:
    file = tmp_path / "in_place.sql"
    file.write_text('CREATE INDEX asked ON shop."Order" (state);')
    command = [str(ROOT / "lab"), "indexes", "--database-url", theirs, "--migration", str(file), "--in-place"]
    refused = subprocess.run(command, input="production\n", capture_output=True, text=True, timeout=60)
    assert (refused.returncode, "another name: nothing was changed" in refused.stderr) == (2, True), refused
    assert "asked" not in _valid(theirs)
    done = subprocess.run(command, input=theirs.rpartition("/")[2] + "\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert _valid(theirs)["asked"]
    assert theirs.split(":")[2].split("@")[0] not in done.stdout + done.stderr, "a password"
