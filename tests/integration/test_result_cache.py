"""Results of statements kept beside psycopg: the same answers, none older than a write that has ended."""

from __future__ import annotations

import asyncio
import random
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import redis
from psycopg.rows import dict_row, namedtuple_row

from archzero_lab.errors import ServerError, SettingsError
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.postgres.result_cache import ResultCache
from archzero_lab.servers.stack import Stack

_SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, name text, price numeric, made timestamptz, mark uuid, open bool DEFAULT true);
CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE, what text);
CREATE TABLE parts (id int, what text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE audited (id int PRIMARY KEY, what text);
CREATE TABLE audit (what text);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO audit VALUES (NEW.what); RETURN NEW; END';
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON audited FOR EACH ROW EXECUTE FUNCTION noted();
CREATE VIEW open_orders AS SELECT id, name FROM orders WHERE open;
CREATE MATERIALIZED VIEW names AS SELECT name FROM orders;
CREATE TABLE guarded (id int PRIMARY KEY);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
INSERT INTO orders SELECT n, 'order ' || n, n / 7.0, timestamptz '2026-01-01' + n * interval '1 hour',
       md5(n::text)::uuid, n % 2 = 0 FROM generate_series(1, 20) AS n;
INSERT INTO lines SELECT n, 1 + n % 20, 'line ' || n FROM generate_series(1, 60) AS n;
"""
_ORDER = "SELECT name FROM orders WHERE id = %s"


@pytest.fixture(scope="module")
def url(stack: Stack) -> Iterator[str]:
    name = stack.database_name("result_cache")
    made = create_database(stack.postgres_url, name)
    with psycopg.connect(made) as connection:
        connection.execute(_SCHEMA)
    yield made
    drop_database(stack.postgres_url, name)


@pytest.fixture
def cache(url: str, stack: Stack) -> Iterator[ResultCache]:
    made = ResultCache(url, stack.redis_url, f"results:{uuid.uuid4().hex}")
    yield made
    made.close()


@contextmanager
def _connected(cache: ResultCache, url: str, **more: Any) -> Iterator[Any]:
    with cache.connection.connect(url, **{"autocommit": True, **more}) as connection:
        yield connection


def _hits(cache: ResultCache) -> int:
    found, cache.counts["hits"] = cache.counts["hits"], 0
    return found


@pytest.mark.parametrize("binary", [False, True])
def test_a_kept_result_is_read_as_the_first_one_was(url: str, cache: ResultCache, binary: bool) -> None:
    sql = "SELECT id, name, price, made, mark, open, NULL::text AS nothing FROM orders WHERE id <= %(most)s ORDER BY id"
    with _connected(cache, url) as connection, psycopg.connect(url) as plain:
        seen = []
        for at in (plain, connection, connection):
            with at.cursor(binary=binary) as cursor:
                cursor.execute(sql, {"most": 7})
                told = [(one.name, one.type_code, one.type_display) for one in cursor.description or ()]
                first, then, rest = cursor.fetchone(), cursor.fetchmany(2), list(cursor)
                cursor.scroll(1, "absolute")
                seen.append((told, cursor.rowcount, cursor.statusmessage, first, then, rest, cursor.fetchone()))
        assert seen[0] == seen[1] == seen[2]
        assert isinstance(seen[2][3][2], Decimal)
        assert _hits(cache) == 1
        for factory in (dict_row, namedtuple_row):
            rows = [at.cursor(row_factory=factory).execute(sql, {"most": 3}).fetchall() for at in (plain, connection)]
            again = connection.cursor(row_factory=factory).execute(sql, {"most": 3}).fetchall()
            assert rows[0] == rows[1] == again
        cursor = connection.execute(sql, {"most": 7})
        assert cursor.execute("SELECT 1").fetchone() == (1,), "a cursor that was served goes on as any other"


def test_a_row_by_its_key_is_forgotten_with_that_row_alone_and_a_list_with_any(url: str, cache: ResultCache) -> None:
    with _connected(cache, url) as connection:

        def asked() -> None:
            for at in (1, 2):
                connection.execute(_ORDER, [at])
            connection.execute("SELECT count(*) FROM orders WHERE open")

        asked()
        asked()
        assert _hits(cache) == 3
        connection.execute("UPDATE orders SET name = %s WHERE id = %s", ["other", "1"])
        assert connection.execute(_ORDER, [1]).fetchone() == ("other",)
        asked()
        assert _hits(cache) == 2, "both rows; not the list"
        assert connection.execute(_ORDER, [99]).fetchone() is None
        connection.execute("INSERT INTO orders (id, name) VALUES (99, 'new')")
        assert connection.execute(_ORDER, [99]).fetchone() == ("new",), "that there was none is not kept"
        _hits(cache)
        asked()
        assert _hits(cache) == 2, "what is new is in lists alone"
        connection.execute("DELETE FROM orders WHERE id >= 99")
        asked()
        assert _hits(cache) == 0, "a condition that is no key may be of any row"


@pytest.mark.parametrize(
    ("reading", "writing"),
    [
        ("SELECT count(*) FROM lines WHERE order_id = 3", "DELETE FROM orders WHERE id = 3"),
        ("SELECT count(*) FROM open_orders", "UPDATE orders SET open = NOT open WHERE id = 5"),
        ("SELECT count(*) FROM parts", "INSERT INTO parts_1 VALUES (1, 'x')"),
        ("SELECT count(*) FROM parts_1", "INSERT INTO parts VALUES (2, 'x')"),
        ("SELECT count(*) FROM audit", "INSERT INTO audited VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET what = 'y'"),
        ("SELECT count(*) FROM names", "REFRESH MATERIALIZED VIEW names"),
        ("SELECT count(*) FROM orders", "DO $$ BEGIN DELETE FROM orders WHERE id = 7; END $$"),
        ("SELECT count(*) FROM orders", "WITH x AS (INSERT INTO orders (id) VALUES (70) RETURNING id) SELECT * FROM x"),
        ("SELECT count(*) FROM lines", "TRUNCATE lines"),
    ],
)  # fmt: skip
def test_whatever_a_statement_changes_is_read_anew(url: str, cache: ResultCache, reading: str, writing: str) -> None:
    with _connected(cache, url) as connection, psycopg.connect(url, autocommit=True) as plain:
        connection.execute(reading)
        assert connection.execute(reading).fetchone() == plain.execute(reading).fetchone()
        assert _hits(cache) == 1
        connection.execute(writing)
        assert connection.execute(reading).fetchone() == plain.execute(reading).fetchone()
        assert _hits(cache) == 0


def test_copy_and_many_are_writes_too(url: str, cache: ResultCache) -> None:
    count = "SELECT count(*) FROM lines"
    with _connected(cache, url) as connection:
        (before,) = connection.execute(count).fetchone()
        with connection.cursor() as cursor, cursor.copy("COPY lines (id, what) FROM STDIN") as copying:
            copying.write_row((700, "x"))
        assert connection.execute(count).fetchone() == (before + 1,)
        connection.cursor().executemany("INSERT INTO lines (id, what) VALUES (%s, %s)", [(701, "x"), (702, "y")])
        assert connection.execute(count).fetchone() == (before + 3,)
        assert _hits(cache) == 0


def test_rows_that_a_policy_hides_and_sessions_of_their_own_are_not_kept(url: str, cache: ResultCache) -> None:
    with _connected(cache, url) as connection:
        for _ in range(2):
            connection.execute("SELECT count(*) FROM guarded")
        connection.execute("SELECT count(*) FROM orders")
        connection.execute("SET search_path = pg_catalog")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT count(*) FROM orders")
        assert _hits(cache) == 0
    with _connected(cache, url, isolation_level=psycopg.IsolationLevel.REPEATABLE_READ, autocommit=False) as connection:
        for _ in range(2):
            connection.execute("SELECT count(*) FROM orders")
        assert _hits(cache) == 0


def test_nobody_sees_what_is_not_committed_and_everybody_what_is(url: str, cache: ResultCache) -> None:
    with _connected(cache, url, autocommit=False) as writer, _connected(cache, url) as reader:

        def name() -> str:
            (found,) = reader.execute(_ORDER, [4]).fetchone()
            return str(found)

        for ending, after in (("commit", "first"), ("rollback", "first")):
            name()
            writer.execute("UPDATE orders SET name = %s WHERE id = 4", ["first" if ending == "commit" else "never"])
            own = writer.execute(_ORDER, [4]).fetchone()
            before = name()
            assert own != (before,), "its own change, to itself alone"
            assert name() == before
            getattr(writer, ending)()
            assert name() == after
            _hits(cache)
            assert name() == after
            assert _hits(cache) == 1
        with writer.transaction():
            writer.execute("UPDATE orders SET name = 'second' WHERE id = 4")
        assert name() == "second"
        writer.execute("UPDATE orders SET name = 'third' WHERE id = 4")
        writer.execute("COMMIT")
        assert name() == "third"
        with writer.pipeline():
            writer.execute("UPDATE orders SET name = 'fourth' WHERE id = 4")
            writer.commit()
        assert name() == "fourth"


def _interrupted(cache: ResultCache, reader: Any, write: Any) -> str:
    """A reader that has its answer of PostgreSQL when somebody writes, and keeps it only then; what is read next."""
    question = cache.look(reader.cursor(), _ORDER, [6], None)
    cache.ask(cache.end_call(question.depends, "nobody"))  # nothing is kept of it yet
    kept, stamp = cache.ask(cache.read_call(question))
    assert kept is None
    with psycopg.connect(reader.info.dsn, password=reader.info.password, autocommit=True) as plain:
        answer = plain.execute(_ORDER, [6])
        write()
        if found := cache.to_keep(question, stamp, answer.pgresult):
            cache.keep(*found)
    (name,) = reader.execute(_ORDER, [6]).fetchone()
    return str(name)


def test_an_answer_from_before_a_write_that_comes_late_is_never_served(url: str, cache: ResultCache) -> None:
    with _connected(cache, url) as reader, _connected(cache, url) as writer:

        def write() -> None:
            writer.execute("UPDATE orders SET name = 'late' WHERE id = 6")

        assert _interrupted(cache, reader, write) == "late"
        assert _interrupted(cache, reader, lambda: None) == "late"
        _hits(cache)
        reader.execute(_ORDER, [6])
        assert _hits(cache) == 1, "without a write it is kept"


@pytest.mark.parametrize(("marked", "seen"), [(True, "new"), (False, "old")])
def test_while_a_writer_has_not_ended_nothing_of_what_it_touched_is_kept(
    url: str, cache: ResultCache, monkeypatch: pytest.MonkeyPatch, marked: bool, seen: str
) -> None:
    """Its mark is what holds between its commit and its end: taken out, the state before is kept and served."""
    with _connected(cache, url) as reader, _connected(cache, url) as writer:
        reader.execute("UPDATE orders SET name = 'old' WHERE id = 8")
        if not marked:
            monkeypatch.setattr(cache, "begin_call", cache.end_call)
        monkeypatch.setattr(type(writer), "settle", lambda self: None)
        writer.execute("BEGIN")
        writer.execute("UPDATE orders SET name = 'new' WHERE id = 8")
        for _ in range(2):
            assert reader.execute(_ORDER, [8]).fetchone() == ("old",)
        writer.execute("COMMIT")
        assert reader.execute(_ORDER, [8]).fetchone() == (seen,)


def test_what_a_dead_writer_has_touched_is_kept_again_once_its_mark_ends(url: str, stack: Stack) -> None:
    cache = ResultCache(url, stack.redis_url, f"results:{uuid.uuid4().hex}", longest_write_s=0.4)
    with _connected(cache, url) as reader, psycopg.connect(url, autocommit=True) as killer:
        reader.execute(_ORDER, [10])
        writer = cache.connection.connect(url)
        writer.execute("UPDATE orders SET name = 'dead' WHERE id = 10")
        killer.execute("SELECT pg_terminate_backend(%s)", [writer.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            writer.commit()
        assert reader.execute(_ORDER, [10]).fetchone() == ("order 10",)
        while not _hits(cache):  # waits for the mark to end
            assert reader.execute(_ORDER, [10]).fetchone() == ("order 10",)
    cache.close()


def test_without_redis_reads_go_to_the_database_and_a_write_is_refused_before_it_is_sent(
    url: str, cache: ResultCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _connected(cache, url) as connection:
        before = connection.execute(_ORDER, [12]).fetchone()

        def gone(*_: Any) -> Any:
            raise redis.ConnectionError("gone")

        monkeypatch.setattr(cache._redis, "evalsha", gone)
        assert connection.execute(_ORDER, [12]).fetchone() == before
        with pytest.raises(ServerError, match="so nothing was written"):
            connection.execute("UPDATE orders SET name = 'lost' WHERE id = 12")
        monkeypatch.undo()
        assert connection.execute(_ORDER, [12]).fetchone() == before


def test_a_redis_that_restores_an_older_state_is_refused(url: str, stack: Stack) -> None:
    with redis.Redis.from_url(stack.redis_url) as server:
        server.config_set("save", "900 1")
        try:
            with pytest.raises(SettingsError, match="restores an older state after a restart"):
                ResultCache(url, stack.redis_url, "x")
        finally:
            server.config_set("save", "")


def test_no_read_is_older_than_a_write_that_has_ended_beside_many_others(url: str, cache: ResultCache) -> None:
    """Counters that only grow: whoever reads one sees at least what had been acknowledged when it began."""
    acknowledged = dict.fromkeys(range(1, 5), 0)
    with psycopg.connect(url, autocommit=True) as plain:
        plain.execute("CREATE TABLE IF NOT EXISTS counted (id int PRIMARY KEY, n int)")
        plain.execute(
            "INSERT INTO counted SELECT n, 0 FROM generate_series(1, 4) AS n ON CONFLICT (id) DO UPDATE SET n = 0"
        )
    cache.read_schema()
    locks = {one: threading.Lock() for one in acknowledged}
    stale: list[str] = []

    def work(number: int) -> None:
        rng = random.Random(number)
        with _connected(cache, url, autocommit=number % 2 == 0) as connection:
            for _ in range(150):
                one = rng.randint(1, 4)
                if rng.random() < 0.2:
                    with locks[one]:
                        connection.execute("UPDATE counted SET n = n + 1 WHERE id = %s", [one])
                        connection.commit()
                        acknowledged[one] += 1
                elif rng.random() < 0.5:
                    least = acknowledged[one]
                    (found,) = connection.execute("SELECT n FROM counted WHERE id = %s", [one]).fetchone()
                    connection.commit()
                    stale.extend([f"{one}: {found} after {least}"] * (found < least))
                else:
                    least = sum(acknowledged.values())
                    (found,) = connection.execute("SELECT sum(n) FROM counted").fetchone()
                    connection.commit()
                    stale.extend([f"sum: {found} after {least}"] * (found < least))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert stale == []
    assert cache.counts["hits"] > 0
    assert cache.counts["writes"] >= sum(acknowledged.values()) > 0


async def test_asyncio_reads_writes_and_sees_what_threads_wrote(url: str, cache: ResultCache) -> None:
    async with await cache.async_connection.connect(url, autocommit=True) as connection:

        async def name() -> Any:
            return await (await connection.execute(_ORDER, [14])).fetchone()

        first = await name()
        assert await name() == first
        assert _hits(cache) == 1
        with _connected(cache, url) as other:
            await asyncio.to_thread(other.execute, "UPDATE orders SET name = 'by a thread' WHERE id = 14")
        assert await name() == ("by a thread",)
        async with connection.transaction(), connection.pipeline():
            await connection.execute("UPDATE orders SET name = 'in a pipeline' WHERE id = 14")
        assert await name() == ("in a pipeline",)
        async with connection.cursor() as cursor, cursor.copy("COPY lines (id, what) FROM STDIN") as copying:
            await copying.write_row((800, "x"))
        rows = [row async for row in await connection.execute("SELECT what FROM lines WHERE id >= %s", [800])]
        again = [row async for row in await connection.execute("SELECT what FROM lines WHERE id >= %s", [800])]
        assert rows == again == [("x",)]
    await cache.aclose()
