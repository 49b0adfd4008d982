"""Phase 5's migrations on a real database: up, status, down, and the ways a build can be cut short."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.insights import analyze, index_sizes
from archzero_lab.postgres.migrations import MIGRATIONS, Migrations


@pytest.fixture
def url(make_database: Callable[[str], str]) -> str:
    return make_database("migrations")


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection]:
    with connect(url, autocommit=True) as made:
        yield made


def _small(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.sql").write_text(text)
        (folder / f"{name}.rollback.sql").write_text("SELECT 1;")
    return folder


BUILD = "-- transactional: false\nSET lock_timeout = '5s';\n" + (
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS i_one ON cards (status);"
)


def test_up_makes_25_valid_indexes_and_down_takes_them_away(url: str, connection: psycopg.Connection) -> None:
    migrations = Migrations(url)
    before = {index.name for index in index_sizes(connection)}
    assert not any(state.applied for state in migrations.status())
    assert len(migrations.up(index_set="phase5")) == 26
    assert migrations.up(index_set="phase5") == []
    assert all(state.applied == state.id.startswith("001") for state in migrations.status())
    made = {index.name for index in index_sizes(connection)} - before
    assert len(made) == 25
    invalid = connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone()
    assert invalid == (0,)
    assert len(migrations.down()) == 26
    assert {index.name for index in index_sizes(connection)} == before


def test_a_migration_that_came_later_belongs_to_the_newest_set(url: str, tmp_path: Path) -> None:
    files = {f"00{number}_it": BUILD.replace("i_one", f"i_{number}") for number in (1, 2, 3)}
    migrations = Migrations(url, _small(tmp_path, **files))
    assert migrations.up(index_set="phase5") == ["001_it"]
    assert migrations.up(index_set="v2") == ["002_it", "003_it"]
    assert all(state.applied for state in migrations.status())


def test_an_invalid_index_of_a_failed_build_is_not_taken_for_done(
    url: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    connection.execute("CREATE INDEX i_one ON cards (status)")
    connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i_one'::regclass")
    Migrations(url, _small(tmp_path, one=BUILD)).up()
    assert connection.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i_one'::regclass").fetchone() == (
        True,
    )


def test_a_valid_index_of_the_same_name_is_left_alone(url: str, connection: psycopg.Connection, tmp_path: Path) -> None:
    connection.execute("CREATE INDEX i_one ON cards (status)")
    before = connection.execute("SELECT 'i_one'::regclass::oid").fetchone()
    Migrations(url, _small(tmp_path, one=BUILD)).up()
    assert connection.execute("SELECT 'i_one'::regclass::oid").fetchone() == before


def test_a_lock_row_of_a_killed_run_does_not_stop_the_next(
    url: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    migrations = Migrations(url, _small(tmp_path, one=BUILD))
    migrations.status()
    connection.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 999999)")
    assert migrations.up() == ["one"]


def test_two_migrations_at_once_refuse_each_other(url: str, connection: psycopg.Connection, tmp_path: Path) -> None:
    migrations = Migrations(url, _small(tmp_path, one=BUILD))
    connection.execute("SELECT pg_advisory_lock(%s)", [0x61726368])
    with pytest.raises(DatabaseError, match="another migration is running"):
        migrations.up()


def test_a_failing_migration_is_named_with_its_reason_and_can_be_run_again(url: str, tmp_path: Path) -> None:
    folder = _small(
        tmp_path, one=BUILD, two="-- depends: one\nSET LOCAL lock_timeout = '5s';\nALTER TABLE nothing ADD x int;"
    )
    with pytest.raises(DatabaseError, match=r'migration two failed: relation "nothing" does not exist'):
        Migrations(url, folder).up()
    assert [state.applied for state in Migrations(url, folder).status()] == [True, False]
    (folder / "two.sql").write_text("-- depends: one\nSELECT 1;")
    assert Migrations(url, folder).up() == ["two"]


def test_a_lock_that_somebody_holds_for_a_while_is_waited_for_in_turns(
    url: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    folder = _small(tmp_path, one="SET LOCAL lock_timeout = '100ms';\nALTER TABLE cards ADD note text;")
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE cards IN ACCESS SHARE MODE")
        timer = threading.Timer(0.8, holder.commit)
        timer.start()
        assert Migrations(url, folder).up() == ["one"]
        timer.join()


def test_a_server_without_the_extension_is_told_what_to_install(url: str, tmp_path: Path) -> None:
    text = "SET LOCAL lock_timeout = '5s';\nCREATE EXTENSION no_such_extension;"
    with pytest.raises(DatabaseError, match="install PostgreSQL's contrib extensions"):
        Migrations(url, _small(tmp_path, one=text)).up()


def test_a_database_that_cannot_be_reached_is_told_without_its_password() -> None:
    with pytest.raises(DatabaseError, match=r"cannot connect to postgresql://u:\*\*\*@127\.0\.0\.1:1/x"):
        Migrations("postgresql://u:s3cret@127.0.0.1:1/x", MIGRATIONS).status()


def test_every_analysis_query_works_and_changes_nothing(url: str, connection: psycopg.Connection) -> None:
    Migrations(url).up(index_set="phase5")
    connection.execute("SELECT count(*) FROM cards")
    tables = {table.name: table for table in analyze(connection)}
    assert set(tables) == {
        "index_use", "table_sizes", "foreign_keys_without_index", "slowest_statements", "sequential_scans",
        "bloated_indexes",
    }  # fmt: skip
    assert len(tables["index_use"].rows) >= 25
    assert tables["foreign_keys_without_index"].rows == ()
    assert tables["slowest_statements"].columns[0] in ("statement", "note")


def test_foreign_keys_without_an_index_are_found_before_the_migration(connection: psycopg.Connection) -> None:
    found = {table.name: table for table in analyze(connection)}["foreign_keys_without_index"]
    assert sorted(row[1] for row in found.rows) == [
        "relationships_source_card_id_fkey",
        "relationships_target_card_id_fkey",
    ]
