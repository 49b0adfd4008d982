"""What helps with a migration beside measuring it: lint against a schema, marks on a database, applying it in place."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from archzero_lab.errors import DatabaseError, SettingsError
from archzero_lab.jobs.indexes.lint import lint_files, lint_schema
from archzero_lab.jobs.indexes.lint_locks import locks_taken
from archzero_lab.postgres.advice import Advice, advise
from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.postgres.in_place import Step, apply_in_place, read_migration
from archzero_lab.postgres.index_catalog import list_indexes
from archzero_lab.postgres.index_purposes import purposes
from archzero_lab.postgres.insights import analyze, statistics_since
from archzero_lab.postgres.migrations import MIGRATIONS
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import ROOT
from tests.integration.shop import MIGRATION, somebodys_database, state_of


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Iterator[str]:
    """Somebody's database, which is only read."""
    with somebodys_database(stack, "shop") as url:
        yield url


def _advice(connection: Connection) -> list[Advice]:
    indexes, needed = list_indexes(connection), purposes(connection)
    return advise(analyze(connection), indexes, needed, statistics_since(connection))


def test_a_schema_adds_to_what_the_sql_alone_tells(stack: Stack, shop: str, tmp_path: Path) -> None:
    before = state_of(shop)
    file = tmp_path / "migration.sql"
    file.write_text(MIGRATION)
    found = {fault.where: fault for fault in lint_schema(stack, shop, file)}
    assert found["order_customer"].rule == "subsumed"
    assert "order_customer_state serves" in found["order_customer"].message
    assert found["order_total"].rule == "ends-heap-only-updates"
    assert "an update of total in shop.Order" in found["order_total"].message
    assert state_of(shop) == before
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


def test_the_locks_of_each_statement_are_told_from_a_copy_with_all_rows(
    stack: Stack, shop: str, tmp_path: Path
) -> None:
    before = state_of(shop)
    file = tmp_path / "migration.sql"
    file.write_text("BEGIN;\n" + MIGRATION + "CREATE TABLE shop.note (id int);\nCOMMIT;\n")
    plain, concurrent, _, pair, _, new = locks_taken(stack, shop, file)
    assert plain.locks == (('shop."Order"', "ShareLock"),)
    assert "writers wait" in plain.in_words
    assert plain.seconds > 0.001  # forty thousand rows
    assert concurrent.locks == (("its table", "ShareUpdateExclusiveLock"),)
    assert ("shop.customer", "AccessExclusiveLock") in pair.locks
    assert "readers and writers wait" in pair.in_words
    assert new.locks == ()
    assert state_of(shop) == before
    assert "lint" not in stack.databases()
    file.write_text("CREATE INDEX no_such ON shop.nowhere (x);")
    with pytest.raises(DatabaseError, match=r"on the copy, CREATE INDEX no_such.*nowhere"):
        locks_taken(stack, shop, file)
    assert "lint" not in stack.databases()


def test_squawk_finds_what_blocks_writes_and_ours_have_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "bad.sql"
    file.write_text("SELECT 1;\nCREATE INDEX x ON t (a);\n")
    found = lint_files([file])
    assert (f"{file}:2", "require-concurrent-index-creation") in {(fault.where, fault.rule) for fault in found}
    ours = [path for path in MIGRATIONS.glob("*.sql") if not path.name.endswith(".rollback.sql")]
    assert len(ours) > 30
    assert lint_files(ours) == []
    with pytest.raises(SettingsError, match=r"nowhere\.sql: no such file"):
        lint_files([tmp_path / "nowhere.sql"])
    latin = tmp_path / "latin.sql"
    latin.write_bytes("-- größer\nCREATE INDEX a ON b (c);".encode("latin-1"))
    # beside a file with faults it was passed over, and the build was green
    with pytest.raises(SettingsError, match=r"latin\.sql line 1: not UTF-8"):
        lint_files([file, latin])


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
                "CREATE INDEX a_narrow ON a USING brin (x) WITH (pages_per_range = 4)",
                "CREATE INDEX a_wide ON a USING brin (x) WITH (pages_per_range = 128)",
                "CREATE INDEX a_pattern ON a (t text_pattern_ops)",
                'CREATE INDEX a_collated ON a (t COLLATE "C")',
                "DELETE FROM a WHERE id % 10 > 0",
                "VACUUM ANALYZE a",
                "INSERT INTO b VALUES (10)",
                "SELECT pg_stat_force_next_flush()",
            ):
                connection.execute(part.encode())
        with connect(url, autocommit=True) as connection:
            found = _advice(connection)
            marks = {(mark.mark, mark.about) for mark in found}
            assert {("invalid", "a_half"), ("duplicate", "a_x"), ("foreign key", "b.b_a_id_fkey"),
                    ("never analyzed", "b"), ("bloated", "a_big")} <= marks  # fmt: skip
            assert not {("duplicate", "a_xy"), ("unused", "a_xy")} & marks, "a_x goes because it stays"
            assert not {mark for mark in marks if mark[1] in ("a_pattern", "a_collated") and mark[0] == "duplicate"}
            assert ("duplicate", "a_wide") not in marks, "a BRIN of other pages_per_range is another index"
            assert ("unused", "a_pkey") not in marks
            (key,) = [mark for mark in found if mark.mark == "foreign key"]
            assert key.do == "CREATE INDEX CONCURRENTLY ON b (a_id)"
            connection.execute(key.do.encode())
            assert "foreign key" not in {mark.mark for mark in _advice(connection)}
            row = connection.execute("SELECT count(*) FROM pg_index WHERE indrelid = 'a'::regclass").fetchone()
            assert row == (9,)
            # the key's new index has not been read yet either
            assert not [mark for mark in _advice(connection) if "a_id" in mark.about]
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
    with somebodys_database(stack, "theirs") as url:
        yield url


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
    assert [step.index is not None for step in statements] == [True, True, False]
    assert "UNIQUE INDEX CONCURRENTLY IF NOT EXISTS" in statements[0].text
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
    with pytest.raises(SettingsError, match="line 1: an index without a name"):
        read_migration(file)


def test_in_place_waits_its_turn_for_a_lock(theirs: str) -> None:
    with connect(theirs) as holder:
        holder.execute('LOCK TABLE shop."Order" IN ROW EXCLUSIVE MODE')
        timer = threading.Timer(6.0, holder.commit)  # after the first attempt has given up
        timer.start()
        apply_in_place(theirs, [Step('ALTER TABLE shop."Order" ADD COLUMN note text')])
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
    done = subprocess.run(command, input=urlsplit(theirs).path[1:] + "\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert _valid(theirs)["asked"]
    assert theirs.split(":")[2].split("@")[0] not in done.stdout + done.stderr, "a password"
