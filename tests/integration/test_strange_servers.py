"""Servers and shells as others have them: clusters of other encodings, a pooler in front, options in the URL."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import connect, require_no_pooler
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.postgres.insights import analyze
from archzero_lab.postgres.migrations import Migrations
from archzero_lab.postgres.pool import Database
from archzero_lab.servers import postgres_server
from archzero_lab.servers.hurt import HurtPostgres
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.process import is_zombie
from archzero_lab.servers.server_home import server_user
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.services import Serving, start_service
from tests.integration.conftest import PATIENT_POOL

ANY_TEXT = "→ 😀 größer 中"


@pytest.mark.parametrize("made_with", [["--encoding=SQL_ASCII", "--locale=C"], ["--encoding=LATIN1", "--locale=C"]])
def test_a_database_holds_any_text_whatever_the_cluster_was_made_with(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, made_with: list[str]
) -> None:
    run = subprocess.run

    def initdb(command: list[str], *arguments: Any, **more: Any) -> Any:
        if command[0].endswith("initdb"):
            command = [part for part in command if not part.startswith(("--encoding", "--locale"))] + made_with
        return run(command, *arguments, **more)

    monkeypatch.setattr(postgres_server.subprocess, "run", initdb)
    postgres = HurtPostgres(stack)
    try:
        url = create_database(postgres.server.url, stack.database_name("strange"))
        with connect(url) as connection:
            connection.execute("CREATE EXTENSION pg_trgm")
            found = connection.execute("SELECT %s, lower('GRÖSSER'), show_trgm(%s) <> '{}'", [ANY_TEXT, ANY_TEXT])
            assert found.fetchone() == (ANY_TEXT, "größer".replace("ß", "ss"), True)
        drop_database(postgres.server.url, stack.database_name("strange"))
    finally:
        postgres.close()


def test_a_killed_server_comes_up_again_though_nobody_has_looked_at_its_zombie(stack: Stack) -> None:
    postgres = HurtPostgres(stack)
    killed = postgres.server.record
    try:
        with connect(postgres.server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
        os.kill(killed.pid, signal.SIGKILL)  # a child of this process, which asks for no child's end
        while not is_zombie(killed):
            time.sleep(0.01)
        postgres.start()
        with connect(postgres.server.url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (42,)
        assert is_zombie(killed)
    finally:
        os.waitpid(killed.pid, 0)
        postgres.close()


async def test_options_of_the_url_reach_each_session_and_win(stack: Stack) -> None:
    url = f"{stack.postgres_url}&options=-c%20work_mem%3D5MB%20-c%20search_path%3Dpg_catalog&application_name=mine"
    database = Database(url, PATIENT_POOL)
    await database.open()
    try:
        row = await database.row(
            "SELECT current_setting('work_mem'), current_setting('search_path'), current_setting('application_name'),"
            " current_setting('timezone')"
        )
        assert row == ("5MB", "pg_catalog", "mine", "UTC")
    finally:
        await database.close()


def test_health_reads_a_table_as_a_request_does(stack: Stack, database_url: str) -> None:
    """A role that may connect and no longer read: every request fails, and health says so."""
    role = "archzero_lab_reader"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        service = start_service(stack, Serving("reader", f"{database_url}&options=-c%20role%3D{role}", cached=False))
        try:
            assert httpx.get(service.url + "/api/v1/cards", timeout=30).status_code == 200
            admin.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
            refused = httpx.get(service.url + "/api/v1/cards", timeout=30)
            assert (refused.status_code, "must give its role the rights" in refused.text) == (503, True)
            assert httpx.get(service.url + "/api/v1/health", timeout=30).status_code == 503
        finally:
            stack.registry.stop(service.record)
            admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def pooler(stack: Stack, tmp_path: Path) -> Iterator[str]:
    """The stack's PostgreSQL by way of PgBouncer in transaction mode; its URL."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no pgbouncer on this machine (Debian: apt-get install pgbouncer)")
    parts = urlsplit(stack.postgres_url)
    port, folder = free_port(), tmp_path / "pooler"
    folder.mkdir()
    (folder / "users").write_text(f'"{parts.username}" "{parts.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={parts.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = plain\nauth_file = {folder / 'users'}\npool_mode = transaction\n"
    )
    user = server_user()
    if user is not None:
        for path in (tmp_path, folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)
        for parent in folder.parents:
            if parent.stat().st_uid == os.getuid() and parent.parent != parent:
                parent.chmod(parent.stat().st_mode | 0o111)
    record = stack.registry.spawn(
        "pgbouncer", [program, str(folder / "pgbouncer.ini")], log=tmp_path / "log", user=user, cwd=folder
    )
    url = stack.postgres_url.replace(f":{parts.port}/", f":{port}/")
    try:
        for _ in range(200):
            try:
                psycopg.connect(url, connect_timeout=2).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.05)  # it does not listen yet
        yield url
    finally:
        stack.registry.stop(record)


async def test_a_pooler_is_named_with_what_to_give_in_its_place(stack: Stack, pooler: str) -> None:
    with connect(pooler) as connection, pytest.raises(DatabaseError, match=r"is a pooler .* the server's own URL"):
        require_no_pooler(connection)
    with connect(stack.postgres_url) as connection:
        require_no_pooler(connection)
    with pytest.raises(DatabaseError, match=r"is a pooler .* the server's own URL"):
        Migrations(pooler).up()
    # what only reads goes by way of it
    with connect(pooler, autocommit=True) as connection:
        assert "index_use" in {table.name for table in analyze(connection)}
    with pytest.raises(
        DatabaseError, match=r"unsupported startup parameter.*that is a pooler: give the server's own URL"
    ):
        connect(f"{pooler}&options=-c%20work_mem%3D5MB")
