"""No result is older than a write that has ended: readers that are late, writers that do not end, many at once."""

from __future__ import annotations

import asyncio
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import redis

from archzero_lab.errors import ServerError
from archzero_lab.postgres.result_cache import ResultCache, protocol
from archzero_lab.postgres.result_cache import cache as cache_of_results
from archzero_lab.servers.stack import Stack
from tests.integration.result_shop import ORDER, cache, connected, hits_of, url

__all__ = ["cache", "url"]


def test_nobody_sees_what_is_not_committed_and_everybody_what_is(url: str, cache: ResultCache) -> None:
    with connected(cache, url, autocommit=False) as writer, connected(cache, url) as reader:

        def name() -> str:
            (found,) = reader.execute(ORDER, [4]).fetchone()
            return str(found)

        for ending, after in (("commit", "first"), ("rollback", "first")):
            name()
            writer.execute("UPDATE orders SET name = %s WHERE id = 4", ["first" if ending == "commit" else "never"])
            own = writer.execute(ORDER, [4]).fetchone()
            before = name()
            assert own != (before,), "its own change, to itself alone"
            assert name() == before
            getattr(writer, ending)()
            assert name() == after
            hits_of(cache)
            assert name() == after
            assert hits_of(cache) == 1
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
    question = cache.look(reader.cursor(), ORDER, [6], None)
    cache.ask(cache.forget_everything())  # nothing is kept of it yet
    kept, stamp, _ = cache.ask(cache.read_call(question))
    assert kept is None
    with psycopg.connect(reader.info.dsn, password=reader.info.password, autocommit=True) as plain:
        answer = plain.execute(ORDER, [6])
        write()
        if found := cache.to_keep(question, stamp, answer.pgresult):
            cache.keep(question, *found)
    (name,) = reader.execute(ORDER, [6]).fetchone()
    return str(name)


def test_an_answer_from_before_a_write_that_comes_late_is_never_served(url: str, cache: ResultCache) -> None:
    with connected(cache, url) as reader, connected(cache, url) as writer:

        def write() -> None:
            writer.execute("UPDATE orders SET name = 'late' WHERE id = 6")

        assert _interrupted(cache, reader, write) == "late"
        assert _interrupted(cache, reader, lambda: None) == "late"
        hits_of(cache)
        reader.execute(ORDER, [6])
        assert hits_of(cache) == 1, "without a write it is kept"


@pytest.mark.parametrize(("marked", "seen"), [(True, "new"), (False, "old")])
def test_while_a_writer_has_not_ended_nothing_of_what_it_touched_is_kept(
    url: str, cache: ResultCache, monkeypatch: pytest.MonkeyPatch, marked: bool, seen: str
) -> None:
    """Its mark is what holds between its commit and its end: taken out, the state before is kept and served."""
    with connected(cache, url) as reader, connected(cache, url) as writer:
        reader.execute("UPDATE orders SET name = 'old' WHERE id = 8")
        if not marked:
            monkeypatch.setattr(cache_of_results, "BEGIN", protocol.BEGIN.replace(", ARGV[2], now + ARGV[3])", ")"))
        monkeypatch.setattr(type(writer), "settle", lambda self: None)
        writer.execute("BEGIN")
        writer.execute("UPDATE orders SET name = 'new' WHERE id = 8")
        for _ in range(2):
            assert reader.execute(ORDER, [8]).fetchone() == ("old",)
        writer.execute("COMMIT")
        assert reader.execute(ORDER, [8]).fetchone() == (seen,)


def test_what_a_dead_writer_has_touched_is_kept_again_once_its_mark_ends(url: str, stack: Stack) -> None:
    cache = ResultCache(url, stack.redis_url, f"results:{uuid.uuid4().hex}", longest_write_s=0.4)
    with connected(cache, url) as reader, psycopg.connect(url, autocommit=True) as killer:
        reader.execute(ORDER, [10])
        writer = cache.connection.connect(url)
        writer.execute("UPDATE orders SET name = 'dead' WHERE id = 10")
        killer.execute("SELECT pg_terminate_backend(%s)", [writer.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            writer.commit()
        assert reader.execute(ORDER, [10]).fetchone() == ("order 10",)
        while not hits_of(cache):  # waits for the mark to end
            assert reader.execute(ORDER, [10]).fetchone() == ("order 10",)
    cache.close()


def test_without_redis_reads_go_to_the_database_and_a_write_is_refused_before_it_is_sent(
    url: str, cache: ResultCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(cache, url) as connection:
        before = connection.execute(ORDER, [12]).fetchone()

        def gone(*_: Any) -> Any:
            raise redis.ConnectionError("gone")

        monkeypatch.setattr(cache._redis, "evalsha", gone)
        assert connection.execute(ORDER, [12]).fetchone() == before
        with pytest.raises(ServerError, match="so nothing was written"):
            connection.execute("UPDATE orders SET name = 'lost' WHERE id = 12")
        monkeypatch.undo()
        assert connection.execute(ORDER, [12]).fetchone() == before


def test_a_write_returns_once_redis_has_heard_of_its_end(
    url: str, cache: ResultCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(cache, url) as connection:
        connection.execute(ORDER, [16])
        real, failing, scripts = cache._redis.evalsha, iter([False, True, True, True]), []

        def unsteady(*arguments: Any) -> Any:
            scripts.append(arguments[0])
            if next(failing, False):
                raise redis.TimeoutError("late")
            return real(*arguments)

        monkeypatch.setattr(cache._redis, "evalsha", unsteady)
        connection.execute("UPDATE orders SET name = 'heard' WHERE id = 16")
        assert len(scripts) == 5, "its beginning, three times in vain its end, and that once more"
        assert len(set(scripts)) == 2
        assert connection.execute(ORDER, [16]).fetchone() == ("heard",)


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
        with connected(cache, url, autocommit=number % 2 == 0) as connection:
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


async def test_tasks_on_one_connection_end_their_own_writes_alone(url: str, cache: ResultCache) -> None:
    """The first has marked and not written yet when the second ends a statement on the same connection."""
    async with await cache.async_connection.connect(url, autocommit=True) as connection:
        marked, go_on = asyncio.Event(), asyncio.Event()
        begin = connection._begin

        async def slowly(touches: set[str]) -> Any:
            marks = await begin(touches)
            if marks:
                marked.set()
                await go_on.wait()
            return marks

        connection._begin = slowly
        writing = asyncio.create_task(connection.execute("UPDATE orders SET name = 'by a task' WHERE id = 18"))
        await marked.wait()
        await connection.execute("SELECT now()")
        with connected(cache, url) as reader:
            for _ in range(2):
                assert reader.execute(ORDER, [18]).fetchone() == ("order 18",)
            go_on.set()
            await writing
            assert reader.execute(ORDER, [18]).fetchone() == ("by a task",)
    await cache.aclose()


async def test_asyncio_reads_writes_and_sees_what_threads_wrote(url: str, cache: ResultCache) -> None:
    async with await cache.async_connection.connect(url, autocommit=True) as connection:

        async def name() -> Any:
            return await (await connection.execute(ORDER, [14])).fetchone()

        first = await name()
        assert await name() == first
        assert hits_of(cache) == 1
        with connected(cache, url) as other:
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
