"""Own experiments on a service count what its PostgreSQL and Redis did a call, beside the times."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
import redis

import archzero_lab as lab
from archzero_lab.errors import DatabaseError, SettingsError
from archzero_lab.servers.stack import Stack


@pytest.fixture(scope="module")
def service(database_url: str, stack: Stack) -> Iterator[str]:
    """/once asks its database one question, /thrice three and Redis two more."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        try:
            admin.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            admin.execute("SELECT FROM pg_stat_statements LIMIT 1")
        except psycopg.Error:
            pytest.skip("this server has no pg_stat_statements loaded")
    store = redis.Redis.from_url(stack.redis_url)

    class Service(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with psycopg.connect(database_url, autocommit=True) as connection:
                for _ in range(3 if self.path == "/thrice" else 1):
                    connection.execute("SELECT name FROM cards LIMIT 2").fetchall()
            if self.path == "/thrice":
                store.get("nothing")
                store.get("nothing")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    store.close()


def test_statements_rows_and_commands_a_call_stand_beside_the_times(
    service: str, database_url: str, stack: Stack
) -> None:
    resets = []
    found = lab.experiment(
        lab.Requests(service, ["/once"], database=database_url, reset=lambda: resets.append(1)),
        lab.Requests(service, ["/thrice"], database=database_url, redis=stack.redis_url),
        blocks=6, calls=10,
    )  # fmt: skip
    found.wait()
    control, treatment = found.mechanism.loc["control"], found.mechanism.loc["treatment"]
    assert (control["statements a call"], treatment["statements a call"]) == (1, 3)
    assert (control["rows a call"], treatment["rows a call"]) == (2, 6)
    assert control["blocks a call"] > 0
    assert (treatment["Redis misses a call"], treatment["Redis hits a call"]) == (2, 0)
    assert treatment["Redis commands a call"] >= 2
    assert len(resets) == 6, "before each slot of the arm that has one"
    by_arm = found.statements.set_index(["statement", "arm"])
    asked = "SELECT name FROM cards LIMIT $1"
    assert by_arm.loc[(asked, "control"), "calls a call"] == 1
    assert tuple(by_arm.loc[(asked, "treatment"), ["calls a call", "rows a call"]]) == (3, 6)
    assert by_arm.loc[(asked, "treatment"), "blocks a call"] == treatment["blocks a call"]
    page = found._repr_html_()
    assert asked in page
    assert "calls a call, control" in page


def test_statements_that_a_callable_sends_are_told_by_shape(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:

        def once() -> None:
            connection.execute("SELECT name FROM cards LIMIT 2").fetchall()

        def in_a_loop() -> None:
            for number in range(3):
                connection.execute("SELECT name FROM cards OFFSET %s LIMIT 1", [number]).fetchall()

        found = lab.experiment(once, in_a_loop, blocks=6, calls=3)
        found.wait()
    assert list(found.mechanism["statements a call"]) == [1, 3]
    sent = found.statements.set_index("arm")["calls a call"]
    assert (sent["control"], sent["treatment"]) == (1, 3)
    assert "by statement" in found._repr_html_()


def test_an_experiment_without_a_database_has_no_statements() -> None:
    found = lab.experiment(lambda: None, lambda: None, blocks=6, calls=3)
    assert found.statements.empty
    assert "by statement" not in found._repr_html_()


def test_what_cannot_be_counted_is_said_before_anything_is_measured(service: str, stack: Stack) -> None:
    empty = stack.postgres_url.rpartition("/")[0] + "/template1"
    plain = lab.Requests(service, ["/once"])
    with pytest.raises(DatabaseError, match="CREATE EXTENSION pg_stat_statements"):
        lab.experiment(lab.Requests(service, ["/once"], database=empty), plain).wait()
    with pytest.raises(SettingsError, match="does not answer") as refused:
        lab.experiment(lab.Requests(service, ["/once"], redis="redis://:s3cret@127.0.0.1:1/0"), plain).wait()
    assert "s3cret" not in str(refused.value)
