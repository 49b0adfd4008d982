"""Work counted on real servers: the same twice, told where it is more; what is the service's own, told apart."""

from __future__ import annotations

import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.jobs.work.baseline import Baseline, Tolerance, to_toml
from archzero_lab.jobs.work.counted import Counted
from archzero_lab.jobs.work.differences import differences
from archzero_lab.jobs.work.measure import WorkRequest, count_work
from archzero_lab.jobs.work.verdict import judge_work
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.postgres.whole_statistics import analyze_whole
from archzero_lab.run_folders.gate import PASS
from archzero_lab.servers.counted_redis import CountedRedis, counted_redis
from archzero_lab.servers.counting_stack import CountingStack, counting_stack
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import Settings
from archzero_lab.systems.arczero.system import ArcZero

ASKED = WorkRequest("treatment", 1_000, requests=6)


@pytest.fixture(scope="module")
def counting() -> Iterator[CountingStack]:
    """Servers to count on."""
    with counting_stack(Settings()) as made:
        yield made
    assert not made.log.exists(), "every statement is in it: it goes with the server"


@pytest.fixture(scope="module")
def counted(counting: CountingStack) -> Counted:
    """The card service with its cache, counted once."""
    return count_work(ArcZero(), counting, ASKED)


def test_the_same_code_comes_out_the_same_to_the_last_number(counting: CountingStack, counted: Counted) -> None:
    again = count_work(ArcZero(), counting, ASKED)
    found = judge_work(Baseline(counted, Tolerance()), again, Path("work.toml"), "here")
    assert [one for one in found.outcomes if not one.said.startswith("as it was")] == []
    assert found.result == PASS
    assert to_toml(again, Tolerance()) == to_toml(counted, Tolerance())
    assert len(to_toml(counted, Tolerance()).encode()) < 10_000, "a team reads it in a diff"


def test_each_kind_of_request_is_counted_in_postgresql_and_redis(counted: Counted) -> None:
    detail, create = counted.kinds["detail"], counted.kinds["create"]
    assert detail.first.calls == 6
    assert detail.first.blocks >= 6
    assert detail.again is not None
    assert detail.again.calls == 0, "a card that was read is in the cache"
    assert detail.again.redis["MGET"].calls == 6
    assert detail.again.redis["MGET"].keys == 12
    assert detail.first.bytes == detail.again.bytes
    assert create.writes
    assert create.first.wal["Heap/INSERT"] == 2, "the card, and what is to be told to the cache"
    assert create.first.wal["Btree/entry"] > 10
    assert any(statement.inner for statement in create.first.statements.values()), "what the trigger runs"
    assert counted.kinds["search"].first.statements
    assert all(one.plans for one in counted.kinds["search"].first.statements.values())


def test_without_phase_5s_indexes_the_plans_turn_and_more_is_read(counting: CountingStack, counted: Counted) -> None:
    asked = WorkRequest("cache", 1_000, requests=6, only=("relationships",))
    without = count_work(ArcZero(), counting, asked)
    only = Counted(**{**_fields(counted), "kinds": {"relationships": counted.kinds["relationships"]}})
    (found,) = [one for one in differences(only, without, Tolerance()) if not one.what.startswith("Redis")]
    assert found.result == "more"
    assert "Bitmap Heap Scan on relationships: (idx_relationships_source" in found.said
    assert "Seq Scan on relationships" in found.said
    assert "blocks a request" in found.said


def test_the_services_own_work_is_told_apart(counted: Counted) -> None:
    own = [text for text in counted.background if "cache_outbox" in text]
    sent = [one.sql for kind in counted.kinds.values() for one in kind.first.statements.values()]
    assert not any(text[:40] in sql for text in own for sql in sent)
    assert not any(sql.startswith("DELETE FROM cache_outbox WHERE origin") for sql in sent), "the tidying of the outbox"


def test_a_kind_that_is_not_known_is_refused_with_those_that_are(counting: CountingStack) -> None:
    with pytest.raises(LabError, match="detail, list, filter"):
        count_work(ArcZero(), counting, WorkRequest("treatment", 1_000, only=("lists",)))


def test_what_statements_hold_stays_in_a_log_of_ours_alone(counting: CountingStack) -> None:
    with connect(counting.stack.postgres_url, autocommit=True) as connection:
        connection.execute("SELECT length(%s::text) AS told", ["a secret of somebody"])
    logged = counting.log.read_text()
    assert stat.S_IMODE(counting.log.stat().st_mode) == 0o600
    assert "AS told" in logged
    assert "a secret of somebody" not in logged


def test_servers_of_somebody_else_are_not_counted_on() -> None:
    with (
        pytest.raises(SettingsError, match="unset ARCHZERO_DATABASE_URL"),
        counting_stack(Settings(database_url="postgresql://somewhere/x")),
    ):
        pass


@pytest.fixture
def relay(stack: Stack) -> Iterator[CountedRedis]:
    """A counting way to the suite's Redis."""
    with counted_redis(stack.redis_url) as made:
        yield made


def test_commands_are_counted_with_their_bytes_whatever_number_or_random_name_is_in_them(relay: CountedRedis) -> None:
    key = f"test:{uuid.uuid4()}"
    client = redis.Redis.from_url(relay.url)
    client.set(key, "twelve bytes", ex=1_000)
    client.set(f"{key}:at", f"12.5 at {uuid.uuid4()}", px=7_200_000)
    client.get(key)
    with client.pipeline(transaction=False) as pipe:
        pipe.mget(key, "test:none").delete(key)
        pipe.execute()
    _wait_for_answers(relay)
    of_key = len("test:0-0-0-0-0")
    told = [(one.name, one.sent, one.answered) for one in relay.take()]
    assert told == [
        ("SET", len("SET") + of_key + 12 + len("EX") + 1, len("OK")),
        ("SET", len("SET") + of_key + len(":at") + len("0.0 at 0-0-0-0-0") + len("PX") + 1, len("OK")),
        ("GET", len("GET") + of_key, 12),
        ("MGET", len("MGET") + of_key + len("test:none"), 12),
        ("DEL", len("DEL") + of_key, 1),
    ]
    assert relay.take() == []
    client.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_subscribers_messages_answer_no_command(relay: CountedRedis, protocol: int) -> None:
    client = redis.Redis.from_url(relay.url, protocol=protocol)
    channel = f"test:{uuid.uuid4()}"
    with client.pubsub() as heard:
        heard.subscribe(channel)
        assert heard.get_message(timeout=5)
        client.publish(channel, "news")
        client.publish(channel, "more")
        assert heard.get_message(timeout=5)
        assert heard.get_message(timeout=5)
    _wait_for_answers(relay)
    assert sorted(one.name for one in relay.take()) == ["PUBLISH", "PUBLISH", "SUBSCRIBE"]
    client.close()


def test_an_answer_that_begins_like_a_message_answers_its_command(relay: CountedRedis) -> None:
    client = redis.Redis.from_url(relay.url, protocol=2)
    key = f"test:{uuid.uuid4()}"
    client.rpush(key, "message", "hello")
    client.lrange(key, 0, -1)
    client.get("test:none")
    _wait_for_answers(relay)
    assert [(one.name, one.answered) for one in relay.take()] == [("RPUSH", 1), ("LRANGE", 12), ("GET", 0)]
    client.close()


def test_a_worker_that_waits_for_a_job_keeps_nobody_from_resting(relay: CountedRedis) -> None:
    client = redis.Redis.from_url(relay.url)
    connection = client.connection_pool.get_connection()
    connection.send_command("BLPOP", f"test:{uuid.uuid4()}", 30)
    client.ping()
    _wait_for_answers(relay)
    assert relay.take() == [], "it still waits"
    client.close()


def test_a_command_is_waited_for_until_its_answer(relay: CountedRedis) -> None:
    client = redis.Redis.from_url(relay.url)
    connection = client.connection_pool.get_connection()
    # Redis answers in order: what comes behind a command that blocks has no answer until that has one
    connection.send_command("BLPOP", f"test:{uuid.uuid4()}", 1)
    connection.send_command("GET", "test:none")
    client.ping()
    assert relay.waiting
    connection.read_response()
    connection.read_response()
    _wait_for_answers(relay)
    assert [one.name for one in relay.take()] == ["BLPOP", "GET"]
    client.close()


def _wait_for_answers(relay: CountedRedis) -> None:
    """An answer is counted a moment after it went on."""
    deadline = time.monotonic() + 10
    while relay.waiting:
        assert time.monotonic() < deadline, "an answer was not counted"


def test_statistics_of_all_rows_come_out_the_same_where_a_samples_do_not(stack: Stack) -> None:
    name = stack.database_name("whole")
    url = create_database(stack.postgres_url, name)
    try:
        with connect(url, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE t AS SELECT n, n % 2 = 0 AS even, md5(n::text) AS word FROM generate_series(1, 60000) n"
            )
            connection.execute("ANALYZE t")
            sampled = [_bounds(connection), connection.execute("ANALYZE t") and _bounds(connection)]
            assert sampled[0] != sampled[1], "a sample of half the rows is another each time"
            whole = [(analyze_whole(connection), _bounds(connection)) for _ in range(2)]
            assert whole[0] == whole[1]
            assert whole[0][0] == {"t": 60_000}
            assert len(_bounds(connection)[0]) == 101, "lists keep the length that they have in production"
    finally:
        drop_database(stack.postgres_url, name)


def _bounds(connection: psycopg.Connection[tuple[object, ...]]) -> list[list[str]]:
    rows = connection.execute(
        "SELECT histogram_bounds::text::text[] FROM pg_stats WHERE tablename = 't' AND attname = 'word'"
    ).fetchall()
    return [row[0] for row in rows]  # type: ignore[misc]


def _fields(counted: Counted) -> dict[str, object]:
    return {name: getattr(counted, name) for name in counted.__struct_fields__}
