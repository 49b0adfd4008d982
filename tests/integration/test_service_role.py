"""The card service works as an ordinary role: it serves, writes, imports and folds, and can do nothing else."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
import pytest

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import create_database, database_url, drop_database, service_url
from archzero_lab.progress import QUIET
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.system import ArcZero
from archzero_lab.systems.arms import Opening
from archzero_lab.systems.http import call
from archzero_lab.systems.system import Rows


@pytest.mark.parametrize("arm", ["treatment", "v2-cache"])
def test_a_service_s_sessions_are_no_superuser_s_and_do_all_that_it_does(stack: Stack, arm: str) -> None:
    with ArcZero().prepare(stack, Rows(500), "role", [arm], QUIET) as prepared, prepared.arms(Opening(arm)) as opened:
        url = opened[arm].url
        status, card = call(url, "POST", "/api/v1/cards", {"name": "By an ordinary role", "type": "Application"})
        assert status == 201
        assert call(url, "PUT", f"/api/v1/cards/{card['id']}", {"qualityScore": 7})[0] == 200
        rows = "\n".join(f'{{"name": "Imported {n}", "type": "Risk"}}' for n in range(1_200))
        assert call(url, "POST", "/api/v1/import", rows)[0] == 201
        assert call(url, "GET", "/api/v1/search?q=ordinary")[1]["data"][0]["id"] == card["id"]
        assert call(url, "DELETE", f"/api/v1/cards/{card['id']}")[0] in (200, 204)
        database = "v2" if arm.startswith("v2") else "treatment"
        name = urlsplit(prepared.urls[database]).path.lstrip("/")
        with connect(prepared.urls[database]) as connection:
            users = connection.execute(
                "SELECT DISTINCT a.usename, r.rolsuper OR r.rolcreatedb OR r.rolcreaterole FROM pg_stat_activity a"
                " JOIN pg_roles r ON r.rolname = a.usename WHERE a.datname = %s AND a.pid <> pg_backend_pid()"
                " AND a.backend_type = 'client backend' AND a.application_name <> 'archzero-lab'",
                [name],
            ).fetchall()
        assert users == [(name, False)]
    with connect(stack.postgres_url) as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None


def test_the_role_of_a_service_makes_no_table_reads_no_file_and_changes_no_other_database(stack: Stack) -> None:
    name, other = stack.database_name("test_role"), stack.database_name("test_other")
    url = create_database(stack.postgres_url, name)
    create_database(stack.postgres_url, other)
    try:
        with connect(url) as connection:
            connection.execute("CREATE TABLE there (id int)")
        mine = service_url(url)
        assert service_url(url) == mine
        with connect(url) as connection:
            connection.execute("CREATE TABLE later (id int)")
        with psycopg.connect(mine, autocommit=True) as connection:
            for table in ("there", "later"):
                connection.execute(f"INSERT INTO {table} VALUES (1)".encode())
            for refused in ("CREATE TABLE x (id int)", "DROP TABLE there", "COPY there FROM '/etc/passwd'",
                            "COPY there TO PROGRAM 'id'", "CREATE ROLE y SUPERUSER"):  # fmt: skip
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(refused.encode())
        with psycopg.connect(database_url(mine, other), autocommit=True) as connection, pytest.raises(psycopg.Error):
            connection.execute("CREATE TABLE x (id int)")
    finally:
        drop_database(stack.postgres_url, name)
        drop_database(stack.postgres_url, other)
