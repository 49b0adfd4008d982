"""Servers given by URL: the lab works in databases and keys of its own there, and leaves nothing behind or harmed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psycopg
import redis

from archzero_lab.postgres.databases import database_url
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import ROOT


def test_a_report_on_given_servers_touches_nothing_of_theirs(stack: Stack, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "ARCHZERO_STATE": str(tmp_path / "state"),
        "ARCHZERO_REPORTS": str(tmp_path / "reports"),
        "ARCHZERO_DATABASE_URL": stack.postgres_url,
        "ARCHZERO_REDIS_URL": stack.redis_url,
    }
    client = redis.Redis.from_url(stack.redis_url)
    client.set("theirs", "kept")
    with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS production")
        connection.execute("CREATE DATABASE production")
        before = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        with psycopg.connect(database_url(stack.postgres_url, "production"), autocommit=True) as theirs:
            theirs.execute("CREATE TABLE cards (id int PRIMARY KEY); INSERT INTO cards VALUES (7)")
        done = subprocess.run(
            [str(ROOT / "lab"), "report", "--no-notebooks", "--profile", "smoke", "--cards", "500", "--only",
             "card_detail_cached"],
            capture_output=True, text=True, env=environment, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert {row[0] for row in connection.execute("SELECT datname FROM pg_database")} == before
        with psycopg.connect(database_url(stack.postgres_url, "production")) as theirs:
            assert theirs.execute("SELECT id FROM cards").fetchall() == [(7,)]
        connection.execute("DROP DATABASE production")
    assert client.get("theirs") == b"kept"
    client.delete("theirs")
    summary = json.loads((tmp_path / "reports" / "latest" / "summary.json").read_text())
    assert summary["environment"]["servers"] == "given by URL"
    password = stack.postgres_url.split(":")[2].split("@")[0]
    for path in (tmp_path / "reports" / "latest").resolve().iterdir():
        assert password.encode() not in path.read_bytes(), path.name
    assert list((tmp_path / "state" / "run").glob("*.json")) == []
