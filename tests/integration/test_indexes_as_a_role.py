"""Indexes that only a policy's role needs: statements are run as that role, with its memberships and settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from archzero_lab.errors import DatabaseError, SettingsError
from archzero_lab.jobs.indexes.findings import IndexReport
from archzero_lab.jobs.indexes.page import warnings_of
from archzero_lab.jobs.indexes.plans_only import plan_changes
from archzero_lab.jobs.indexes.request import IndexRequest
from archzero_lab.jobs.indexes.verdict import IndexVerdict
from archzero_lab.postgres.connection import connect
from archzero_lab.progress import QUIET
from archzero_lab.run_folders.run import Run
from archzero_lab.servers.postgres_server import start_postgres
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import STATE
from tests.integration.index_runs import index_request, measured_run

TENANTS = """
CREATE ROLE staff NOLOGIN;
CREATE ROLE app LOGIN IN ROLE staff;
ALTER ROLE app SET app.member = '42';
CREATE ROLE manager LOGIN BYPASSRLS;
GRANT pg_read_all_data TO manager;
CREATE TABLE membership (id int PRIMARY KEY, member int NOT NULL, tenant int NOT NULL, note text);
INSERT INTO membership SELECT i, i % 4000, i % 30, repeat('x', 40) FROM generate_series(1, 8000) i;
CREATE TABLE tenant_row (id int PRIMARY KEY, tenant int NOT NULL, v text);
INSERT INTO tenant_row SELECT i, i % 30, 'v' || i FROM generate_series(1, 30) i;
ALTER TABLE tenant_row ENABLE ROW LEVEL SECURITY;
-- what a function reads, no catalog tells
CREATE FUNCTION allowed(of int) RETURNS bool LANGUAGE plpgsql STABLE AS $$ BEGIN
    RETURN EXISTS (SELECT FROM membership m WHERE m.tenant = of AND m.member = current_setting('app.member')::int);
END $$;
CREATE POLICY mine ON tenant_row TO staff USING (allowed(tenant));
GRANT ALL ON ALL TABLES IN SCHEMA public TO staff;
CREATE EXTENSION pg_stat_statements;
ANALYZE;
"""
MIGRATION = "CREATE INDEX member ON membership (member); CREATE INDEX noted ON membership (note);"
QUERIES = {"rows": "SELECT count(*) FROM tenant_row"}


@pytest.fixture(scope="module")
def theirs(stack: Stack) -> Iterator[str]:
    """A database on a server of its own: roles are a server's, and the copy's has them not."""
    server = start_postgres(stack.postgres_programs, server_home(STATE), stack.registry, name="roles")
    try:
        with connect(server.url, autocommit=True) as connection:
            connection.execute(TENANTS.encode())
        yield server.url
    finally:
        stack.registry.stop(server.record)


def _verdicts(report: IndexReport) -> dict[str, IndexVerdict]:
    return {finding.name: finding.verdict for finding in report.findings}


def _roles_left(stack: Stack) -> list[str]:
    with connect(stack.postgres_url) as connection:
        rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname IN ('app', 'staff')").fetchall()
    return [str(name) for (name,) in rows]


def _run(stack: Stack, request: IndexRequest) -> tuple[Run, IndexReport]:
    try:
        return measured_run(stack, request)
    finally:
        assert _roles_left(stack) == []


def test_what_a_policy_reads_is_needed_by_who_is_bound_by_it_and_by_nobody_else(
    stack: Stack, theirs: str, tmp_path: Path
) -> None:
    request = index_request(theirs, tmp_path, MIGRATION, QUERIES)
    _, as_owner = _run(stack, request)
    assert _verdicts(as_owner) == {"member": IndexVerdict.DROP_UNUSED, "noted": IndexVerdict.DROP_UNUSED}
    _, as_app = _run(stack, replace(request, role="app"))
    assert _verdicts(as_app) == {"member": IndexVerdict.KEEP, "noted": IndexVerdict.DROP_UNUSED}
    (finding,) = [one for one in as_app.findings if one.name == "member"]
    assert finding.used_by == ("rows (as app)",)


def test_a_role_that_passes_the_policies_is_measured_as_the_owner_and_an_unknown_one_is_refused(
    stack: Stack, theirs: str, tmp_path: Path
) -> None:
    request = index_request(theirs, tmp_path, MIGRATION, QUERIES)
    run, found = _run(stack, replace(request, role="manager"))
    assert "no policy binds manager: its statements are measured as the owner's" in run.index_experiment["notes"]
    assert _verdicts(found)["member"] is IndexVerdict.DROP_UNUSED
    with pytest.raises(SettingsError, match="--role nobody_here: that server has no such role"):
        _run(stack, replace(request, role="nobody_here"))


def test_what_a_policy_asks_of_the_session_is_given_by_set(stack: Stack, theirs: str, tmp_path: Path) -> None:
    request = replace(index_request(theirs, tmp_path, MIGRATION, QUERIES), role="app")
    with connect(theirs, autocommit=True) as connection:
        connection.execute("ALTER ROLE app RESET app.member")
    try:
        with pytest.raises(DatabaseError, match=r"no statement can be run: .*app\.member"):
            _run(stack, request)
        _, found = _run(stack, replace(request, settings={"app.member": "42"}))
        assert _verdicts(found)["member"] is IndexVerdict.KEEP
        with pytest.raises(SettingsError, match="--set work_mem: "):
            _run(stack, replace(request, settings={"work_mem": "much"}))
    finally:
        with connect(theirs, autocommit=True) as connection:
            connection.execute("ALTER ROLE app SET app.member = '42'")


def test_statements_of_the_statistics_are_run_as_who_sent_them(stack: Stack, theirs: str, tmp_path: Path) -> None:
    with connect(theirs, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_statements_reset()")
        connection.execute("ALTER ROLE app PASSWORD 'app'")
    with psycopg.connect(theirs, user="app", password="app", autocommit=True) as app:
        for _ in range(20):
            app.execute("SELECT count(*) FROM tenant_row")
    with connect(theirs, autocommit=True) as connection:
        for _ in range(3):
            connection.execute("SELECT count(*) FROM tenant_row")
    request = replace(index_request(theirs, tmp_path, MIGRATION, QUERIES), queries=None, from_statistics=2)
    _, found = _run(stack, request)
    by_name = {finding.name: finding for finding in found.findings}
    assert by_name["member"].verdict is IndexVerdict.KEEP
    assert by_name["member"].used_by == ("statement 1 (as app)",)
    assert [loss.statement for loss in found.whole] == ["statement 1 (as app)", "statement 2"]


def test_a_role_that_the_copys_server_has_itself_is_not_taken(stack: Stack, theirs: str, tmp_path: Path) -> None:
    request = replace(index_request(theirs, tmp_path, MIGRATION, QUERIES), role="app")
    with connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE app")
        try:
            with pytest.raises(DatabaseError, match="the copy's server has a role app of its own"):
                measured_run(stack, request)
            assert connection.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'app'").fetchone() == (False,)
        finally:
            connection.execute("DROP ROLE app")


def test_plans_alone_are_made_as_the_role_too(stack: Stack, theirs: str, tmp_path: Path) -> None:
    if stack.settings.servers == "system":
        pytest.skip("statistics are taken by the lab's own PostgreSQL 18")
    request = index_request(theirs, tmp_path, MIGRATION, QUERIES)
    plans = {role: plan_changes(stack, replace(request, role=role), QUIET)[0] for role in ("", "app")}
    filtered = {role: str(plan.after.root.children[0].condition) for role, plan in plans.items()}
    assert "allowed(tenant)" in filtered["app"]
    assert "allowed" not in filtered[""]
    assert _roles_left(stack) == []


def test_changes_of_the_statistics_are_measured_and_texts_that_may_not_be_read_are_no_pass(
    stack: Stack, theirs: str, tmp_path: Path
) -> None:
    with connect(theirs, autocommit=True) as connection:
        connection.execute("CREATE TABLE job (id int PRIMARY KEY, state text, prio int)")
        connection.execute("INSERT INTO job SELECT i, 's' || i % 9000, i % 7000 FROM generate_series(1, 60000) i")
        connection.execute("ANALYZE job")
        connection.execute("SELECT pg_stat_statements_reset()")
        for number in range(10):
            connection.execute(f"UPDATE job SET prio = prio WHERE prio = {number}")
            connection.execute(f"DELETE FROM job WHERE state = 's{number}'")
        connection.execute("DROP ROLE IF EXISTS asker")
        connection.execute("CREATE ROLE asker LOGIN BYPASSRLS PASSWORD 'asker'")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO asker")
    migration = "CREATE INDEX job_prio ON job (prio); CREATE INDEX job_state ON job (state);"
    request = replace(index_request(theirs, tmp_path, migration, QUERIES), queries=None, from_statistics=5)
    _, found = _run(stack, request)
    assert _verdicts(found) == {"job_prio": IndexVerdict.KEEP, "job_state": IndexVerdict.KEEP}
    with psycopg.connect(theirs, user="asker", password="asker", autocommit=True) as asker:
        asker.execute("SELECT count(*) FROM membership")
    as_asker = theirs.replace(theirs.partition("//")[2].partition("@")[0], "asker:asker", 1)
    run, found = _run(stack, replace(request, database_url=as_asker))
    assert any("is of statements that this role may not read: GRANT pg_read_all_stats" in note
               for note in run.index_experiment["notes"])  # fmt: skip
    assert set(_verdicts(found).values()) == {IndexVerdict.UNDECIDED}


def test_a_switch_that_set_turned_off_is_told_as_such(stack: Stack, theirs: str, tmp_path: Path) -> None:
    request = replace(index_request(theirs, tmp_path, MIGRATION, QUERIES), settings={"enable_indexscan": "off"})
    run, _ = _run(stack, request)
    assert "plans were made with enable_indexscan off, as --set has it" in warnings_of(run.index_experiment)
