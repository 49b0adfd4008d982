"""A stranger's database and migration: whatever they hold runs as an ordinary role, and no program runs at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import LabError
from archzero_lab.jobs.indexes.lint import lint_schema
from archzero_lab.jobs.indexes.measure import measure_indexes
from archzero_lab.jobs.indexes.request import IndexRequest
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.postgres.foreign_copy import copy_database
from archzero_lab.progress import Reporter
from archzero_lab.servers.stack import Stack

HOSTILE = """
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO orders SELECT g, 'n' || g FROM generate_series(1, 500) g;
CREATE FUNCTION public.act(what text) RETURNS void VOLATILE LANGUAGE plpgsql AS $f$
BEGIN
  IF current_setting('is_superuser') = 'on' OR pg_has_role(session_user, 'pg_execute_server_program', 'USAGE') THEN
    EXECUTE format($q$COPY (SELECT 1) TO PROGRAM 'touch PROOF-%s'$q$, what);
  END IF;
END $f$;
CREATE FUNCTION public.harmless(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $f$
BEGIN PERFORM public.act('index'); RETURN t; END $f$;
CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.act('trigger'); RETURN NEW; END $f$;
-- what the catalog is asked by, under the same name
CREATE FUNCTION public.unnest(int2vector) RETURNS SETOF int2 LANGUAGE plpgsql AS $f$
BEGIN PERFORM public.act('catalog'); RETURN; END $f$;
CREATE VIEW v AS SELECT harmless(note) AS h FROM orders;
CREATE TABLE "x
\\! touch PROOF-name
-- " (a int);
GRANT ALL ON SCHEMA public TO archzero_lab_ordinary;
ALTER TABLE orders OWNER TO archzero_lab_ordinary;
SET SESSION AUTHORIZATION archzero_lab_ordinary;
CREATE INDEX orders_harmless ON orders (harmless(note));
CREATE TRIGGER orders_trg BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION trg();
RESET SESSION AUTHORIZATION;
"""


@pytest.fixture
def proof() -> Iterator[Path]:
    """Where a program that ran would leave its mark; any user may write there."""
    folder = Path(f"/tmp/archzero-proof-{uuid.uuid4().hex[:8]}")  # noqa: S108  # the server's user must reach it
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


@pytest.fixture
def hostile(stack: Stack, proof: Path) -> Iterator[str]:
    """A database with an ordinary role's functions; its URL as the superuser, as a careless person would give it."""
    name = stack.database_name("hostile")
    url = create_database(stack.postgres_url, name)
    with connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE archzero_lab_ordinary")
        connection.execute(HOSTILE.replace("PROOF", f"{proof}/by").encode())
    assert list(proof.iterdir()) == [], "nothing ran while it was made"
    yield url
    drop_database(stack.postgres_url, name)
    with connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE archzero_lab_ordinary")


def _request(url: str, folder: Path, migration: str) -> IndexRequest:
    (folder / "queries").mkdir()
    (folder / "queries" / "q.sql").write_text("SELECT * FROM orders WHERE note = $1")
    file = folder / "migration.sql"
    file.write_text(migration)
    return IndexRequest(database_url=url, migration=file, queries=folder / "queries", blocks=6)


@pytest.mark.parametrize("sample", [0, 100])
def test_what_a_source_database_holds_runs_as_nobody_special(
    stack: Stack, hostile: str, proof: Path, tmp_path: Path, sample: int
) -> None:
    request = replace(_request(hostile, tmp_path, "CREATE INDEX orders_note ON orders (note);"), sample=sample)
    _, report = measure_indexes(system_here(), stack, request, Reporter(Console(quiet=True)))
    assert [finding.name for finding in report.findings] == ["orders_note"]
    assert list(proof.iterdir()) == []
    with connect(stack.postgres_url) as connection:
        left = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE '%\\_copy'").fetchall()
    assert left == [], "the copy's role stayed"


@pytest.mark.parametrize(
    "line",
    [
        "\\! touch PROOF-meta",
        "COPY (SELECT 1) TO PROGRAM 'touch PROOF-copy';",
        "DO $$ BEGIN EXECUTE $q$COPY (SELECT 1) TO PROGRAM 'touch PROOF-do'$q$; END $$;",
        "SELECT pg_read_file('/etc/passwd');",
        "ALTER SYSTEM SET archive_command = 'touch PROOF-archive';",
        "CREATE ROLE archzero_lab_evil SUPERUSER;",
    ],
)
def test_a_migration_that_would_run_a_program_is_refused(
    stack: Stack, hostile: str, proof: Path, tmp_path: Path, line: str
) -> None:
    request = _request(hostile, tmp_path, f"SELECT 1;\n{line.replace('PROOF', f'{proof}/by')}\n")
    with pytest.raises(LabError, match=r"migration\.sql line 2:"):
        measure_indexes(system_here(), stack, request, Reporter(Console(quiet=True)))
    assert request.migration is not None
    with pytest.raises(LabError, match=r"migration\.sql line 2:"):
        lint_schema(stack, hostile, request.migration)
    assert list(proof.iterdir()) == []


def test_extensions_are_made_by_name_before_and_none_that_reads_files(stack: Stack, hostile: str) -> None:
    with connect(hostile, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA ext")
        connection.execute("CREATE EXTENSION pg_trgm SCHEMA ext")
        connection.execute("CREATE TABLE text_of (it text)")
        connection.execute("CREATE INDEX by_trigram ON text_of USING gin (it ext.gin_trgm_ops)")
    name = stack.database_name("extended")
    try:
        whole = copy_database(hostile, stack.postgres_url, name, stack.postgres_programs)
        assert whole.left_out == ()
        with connect(whole.url) as copy:
            assert copy.execute("SELECT to_regclass('by_trigram') IS NOT NULL").fetchone() == (True,)
            assert copy.execute("SELECT current_setting('is_superuser'), current_user").fetchone() == ("off", name)
        with connect(hostile, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION file_fdw")
        (left_out,) = copy_database(hostile, stack.postgres_url, name, stack.postgres_programs).left_out
        assert left_out.in_words.startswith("extension file_fdw: not made for a copy: it may run programs")
    finally:
        drop_database(stack.postgres_url, name)
