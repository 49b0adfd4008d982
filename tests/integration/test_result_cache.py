"""Results of statements kept beside psycopg: read as the first were, forgotten with what they were made of."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest
import redis
from psycopg.rows import dict_row, namedtuple_row

from archzero_lab.errors import SettingsError
from archzero_lab.postgres.result_cache import ResultCache
from archzero_lab.servers.stack import Stack
from tests.integration.result_shop import ORDER, cache, connected, hits_of, url

__all__ = ["cache", "url"]


@pytest.mark.parametrize("binary", [False, True])
def test_a_kept_result_is_read_as_the_first_one_was(url: str, cache: ResultCache, binary: bool) -> None:
    sql = "SELECT id, name, price, made, mark, open, NULL::text AS nothing FROM orders WHERE id <= %(most)s ORDER BY id"
    with connected(cache, url) as connection, psycopg.connect(url) as plain:
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
        assert hits_of(cache) == 1
        for factory in (dict_row, namedtuple_row):
            rows = [at.cursor(row_factory=factory).execute(sql, {"most": 3}).fetchall() for at in (plain, connection)]
            again = connection.cursor(row_factory=factory).execute(sql, {"most": 3}).fetchall()
            assert rows[0] == rows[1] == again
        cursor = connection.execute(sql, {"most": 7})
        assert cursor.execute("SELECT 1").fetchone() == (1,), "a cursor that was served goes on as any other"


def test_a_row_by_its_key_is_forgotten_with_that_row_alone_and_a_list_with_any(url: str, cache: ResultCache) -> None:
    with connected(cache, url) as connection:

        def asked() -> None:
            for at in (1, 2):
                connection.execute(ORDER, [at])
            connection.execute("SELECT count(*) FROM orders WHERE open")

        asked()
        asked()
        assert hits_of(cache) == 3
        connection.execute("UPDATE orders SET name = %s WHERE id = %s", ["other", "1"])
        assert connection.execute(ORDER, [1]).fetchone() == ("other",)
        asked()
        assert hits_of(cache) == 2, "both rows; not the list"
        assert connection.execute(ORDER, [99]).fetchone() is None
        connection.execute("INSERT INTO orders (id, name) VALUES (99, 'new')")
        assert connection.execute(ORDER, [99]).fetchone() == ("new",), "that there was none is not kept"
        hits_of(cache)
        asked()
        assert hits_of(cache) == 2, "what is new is in lists alone"
        connection.execute("DELETE FROM orders WHERE id >= 99")
        asked()
        assert hits_of(cache) == 0, "a condition that is no key may be of any row"


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
    with connected(cache, url) as connection, psycopg.connect(url, autocommit=True) as plain:
        connection.execute(reading)
        assert connection.execute(reading).fetchone() == plain.execute(reading).fetchone()
        assert hits_of(cache) == 1
        connection.execute(writing)
        assert connection.execute(reading).fetchone() == plain.execute(reading).fetchone()
        assert hits_of(cache) == 0


def test_copy_and_many_are_writes_too(url: str, cache: ResultCache) -> None:
    count = "SELECT count(*) FROM lines"
    with connected(cache, url) as connection:
        (before,) = connection.execute(count).fetchone()
        with connection.cursor() as cursor, cursor.copy("COPY lines (id, what) FROM STDIN") as copying:
            copying.write_row((700, "x"))
        assert connection.execute(count).fetchone() == (before + 1,)
        connection.cursor().executemany("INSERT INTO lines (id, what) VALUES (%s, %s)", [(701, "x"), (702, "y")])
        assert connection.execute(count).fetchone() == (before + 3,)
        assert hits_of(cache) == 0


def test_rows_that_a_policy_hides_and_sessions_of_their_own_are_not_kept(url: str, cache: ResultCache) -> None:
    with connected(cache, url) as connection:
        for _ in range(2):
            connection.execute("SELECT count(*) FROM guarded")
        connection.execute("SELECT count(*) FROM orders")
        connection.execute("SET search_path = pg_catalog")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT count(*) FROM orders")
        assert hits_of(cache) == 0
    with connected(cache, url, autocommit=False) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for _ in range(2):
            connection.execute("SELECT count(*) FROM orders")
        assert hits_of(cache) == 0


def test_a_redis_that_restores_an_older_state_is_refused(url: str, stack: Stack) -> None:
    with redis.Redis.from_url(stack.redis_url) as server:
        server.config_set("save", "900 1")
        try:
            with pytest.raises(SettingsError, match="restores an older state after a restart"):
                ResultCache(url, stack.redis_url, "x")
        finally:
            server.config_set("save", "")
