"""An arm of a team's service: what its counters count, how it is reset, what it may not be sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from archzero_lab.errors import MeasurementError
from archzero_lab.postgres.databases import (
    copy_guest_database,
    create_database,
    create_guest_database,
    drop_database,
    service_url,
)
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.operations import Operation
from archzero_lab.systems.team.answers import AnswersSeen
from archzero_lab.systems.team.arm import Place, TeamArm, _commands
from archzero_lab.systems.team.copies import drop_leftovers
from archzero_lab.systems.team.project_tables import CounterEntry, Reset

READ = Operation("/read", "read")


class Service(BaseHTTPRequestHandler):
    """Counts what it is asked, and tells it in /metrics."""

    protocol_version = "HTTP/1.1"
    asked = 0
    flushed: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        Service.asked += self.path == "/read"
        self._answer(b"# TYPE asked counter\nasked_total %d\n" % Service.asked if self.path == "/metrics" else b"{}")

    def do_POST(self) -> None:
        Service.flushed.append(self.path)
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def place(stack: Stack) -> Iterator[Place]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    name = stack.database_name("test_team")
    database = create_database(stack.postgres_url, name)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute("CREATE TABLE things (id int)")
        connection.execute("INSERT INTO things SELECT * FROM generate_series(1, 1000)")
    own_redis = stack.redis_url.rpartition("/")[0] + "/7"
    url = f"http://127.0.0.1:{server.server_address[1]}"
    yield Place("main", url, database, own_redis, owned=True, may_write=True, apart=True, tree=Path("/"))
    server.shutdown()
    drop_database(stack.postgres_url, name)


def opened(place: Place, reset: str | Reset = "none", **counters: CounterEntry) -> TeamArm:
    return TeamArm(place, reset, counters, AnswersSeen({}))


def test_counters_are_those_of_its_own_database_and_redis_and_of_the_team_s_names(place: Place) -> None:
    arm = opened(
        place, things=CounterEntry(sql="SELECT count(*) FROM things"), asked=CounterEntry(prometheus="asked_total"),
        commands=CounterEntry(redis="total_commands_processed", rises=True),
    )  # fmt: skip
    before = arm.counters()
    with psycopg.connect(service_url(place.database), autocommit=True) as connection:
        for _ in range(5):
            connection.execute("SELECT max(id) FROM things")
        connection.execute("INSERT INTO things VALUES (0), (0), (0)")
    client = redis.Redis.from_url(place.redis)
    client.set("shop:a", 1)
    client.mget("shop:a", "shop:b")
    arm.ask(READ)
    counted = arm.counters().since(before)
    assert counted.statements == 6  # and not what the team's own counter asks
    assert counted.blocks is not None
    assert counted.blocks >= 5 * 4
    assert (counted.hits, counted.misses) == (1, 1)
    assert counted.redis_calls is not None
    assert counted.redis_calls >= 2
    assert (counted.own["things"], counted.own["asked"]) == (3, 1)
    assert counted.own["commands"] >= 2
    arm.close()


def test_commands_that_open_a_connection_or_look_at_redis_are_not_counted() -> None:
    info = {
        "cmdstat_get": {"calls": 3}, "cmdstat_set": {"calls": 2}, "cmdstat_info": {"calls": 50}, "keyspace_hits": 3,
        "cmdstat_client|setinfo": {"calls": 4}, "cmdstat_config|get": {"calls": 1}, "cmdstat_hello": {"calls": 9},
    }  # fmt: skip
    assert _commands(info) == 6
    assert _commands({"keyspace_hits": 3}) is None, "one that does not tell"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (CounterEntry(sql="SELECT 'x'"), "gives no number"),
        (CounterEntry(sql="SELECT nothing"), 'column "nothing" does not exist'),
        (CounterEntry(sql="DELETE FROM things RETURNING id"), "read-only transaction"),
        (CounterEntry(sql="SELECT 1; DROP TABLE things"), "multiple commands"),
        (CounterEntry(prometheus="none_total"), "/metrics has no sample none_total"),
        (CounterEntry(redis="redis_version"), "has no number redis_version"),
    ],
)
def test_a_counter_that_counts_nothing_is_named(place: Place, entry: CounterEntry, told: str) -> None:
    arm = opened(place, mine=entry)
    with pytest.raises(MeasurementError, match=rf"counter mine: .*{told}"):
        arm.counters()
    arm.close()


def test_each_way_of_resetting_empties_what_it_names_and_nothing_else(place: Place, tmp_path: Path) -> None:
    client = redis.Redis.from_url(place.redis)
    other = redis.Redis.from_url(place.redis.rpartition("/")[0] + "/6")
    other.set("shop:a", 1)

    def reset(how: str | Reset) -> None:
        client.mset({"shop:a": 1, "session:b": 1})
        arm = opened(place, how)
        arm.reset()
        arm.close()

    reset("none")
    assert client.dbsize() == 2
    reset(Reset(redis_keys="shop:*"))
    assert client.keys() == [b"session:b"]
    reset(Reset(post="/flush"))
    assert Service.flushed == ["/flush"]
    reset(Reset(command=f"touch {tmp_path}/done"))
    assert (tmp_path / "done").exists()
    assert client.dbsize() == 2
    reset("redis")
    assert client.dbsize() == 0
    assert other.get("shop:a") == b"1"
    other.delete("shop:a")
    for how, told in (
        (Reset(post="/broken"), "POST .*/broken answered 500"),
        (Reset(command="echo no; exit 4"), r"the reset command failed \(4\): no"),
    ):
        with pytest.raises(MeasurementError, match=f"reset of arm main: {told}"):
            reset(how)


def test_what_is_not_ours_is_neither_emptied_nor_written_to(place: Place) -> None:
    client = redis.Redis.from_url(place.redis)
    client.set("shop:a", 1)
    theirs = Place("staging", place.url, redis=place.redis)
    arm = opened(theirs, "redis")
    arm.reset()
    assert client.get("shop:a") == b"1"
    with pytest.raises(MeasurementError, match="POST /x is not sent to arm staging: may_write = true"):
        arm.ask(Operation("/x", "x", method="POST"))
    assert arm.ask(READ)[1] == 2
    arm.close()
    keys = opened(theirs, Reset(redis_keys="shop:*"))
    with pytest.raises(MeasurementError, match="nothing of it is deleted"):
        keys.reset()
    keys.close()
    client.flushdb()


def test_what_a_killed_command_left_does_not_stop_the_next_one(stack: Stack) -> None:
    source = stack.database_name("killed_source")
    copy_guest_database(
        stack.postgres_url, stack.database_name("killed_0"), create_guest_database(stack.postgres_url, source)
    )
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        drop_database(stack.postgres_url, source)  # its role owns the copy
    drop_leftovers(stack, "killed")
    assert not [name for name in stack.databases() if name.startswith("killed")]
