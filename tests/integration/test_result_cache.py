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
        ("SELECT count(*) FROM audit", "DELETE FROM watched WHERE id = 1"),
        ("SELECT count(*) FROM audit", "INSERT INTO parts VALUES (3, 'x')"),
        ("SELECT count(*) FROM counters WHERE n > 0", "INSERT INTO numbered DEFAULT VALUES"),
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


def test_what_postgresql_tells_of_itself_is_not_kept(url: str, cache: ResultCache) -> None:
    with connected(cache, url) as connection:
        for sql in ("SELECT count(*) FROM pg_class", "SELECT count(*) FROM pg_stat_activity"):
            for _ in range(2):
                connection.execute(sql)
        assert hits_of(cache) == 0


def test_that_a_row_is_not_there_is_kept_by_no_aggregate_either(url: str, cache: ResultCache) -> None:
    with connected(cache, url) as connection:
        count = "SELECT count(*) FROM orders WHERE id = %s"
        for _ in range(2):
            assert connection.execute(count, [90]).fetchone() == (0,)
        connection.execute("INSERT INTO orders (id) VALUES (90)")
        assert connection.execute(count, [90]).fetchone() == (1,)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * INTO TEMP orders FROM public.orders WHERE id < 3",
        "SET search_path = pg_temp, public; SELECT 1",
        "SELECT set_config('search_path', 'pg_catalog, public', false)",
        "SET ROLE NONE",
    ],
)
def test_a_connection_that_was_made_another_one_neither_keeps_nor_is_served(
    url: str, cache: ResultCache, sql: str
) -> None:
    with connected(cache, url) as other, connected(cache, url) as connection:
        whole = connection.execute("SELECT count(*) FROM orders").fetchone()
        other.execute(sql)
        for _ in range(2):
            other.execute("SELECT count(*) FROM orders")
        assert hits_of(cache) == 0
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == whole


def test_names_that_mean_other_tables_on_a_connection_are_not_taken_for_the_usual_ones(
    url: str, cache: ResultCache
) -> None:
    count = "SELECT count(*) FROM orders"
    with connected(cache, url, options="-c search_path=tenant") as tenant, connected(cache, url) as connection:
        whole = connection.execute(count).fetchone()
        (before,) = tenant.execute(count).fetchone()
        tenant.execute("INSERT INTO orders SELECT coalesce(max(id), 0) + 1, 'x' FROM orders")
        for _ in range(2):
            assert tenant.execute(count).fetchone() == (before + 1,)
        hits_of(cache)
        assert connection.execute(count).fetchone() == whole
        assert hits_of(cache) == 0, "what it wrote may be anything"
        connection.execute("INSERT INTO tenant.orders SELECT coalesce(max(id), 0) + 1, 'x' FROM tenant.orders")
        assert tenant.execute(count).fetchone() == (before + 2,)


def test_what_changes_the_schema_is_known_to_every_cache_before_its_next_statement(
    url: str, stack: Stack, cache: ResultCache
) -> None:
    other = ResultCache(url, stack.redis_url, cache._namespace)
    count = "SELECT count(*) FROM audit"
    with (
        connected(cache, url) as owner, connected(cache, url) as connection, connected(other, url) as elsewhere,
    ):  # fmt: skip
        owner.execute("CREATE TABLE quiet (id int PRIMARY KEY, what text)")
        owner.execute("CREATE TRIGGER noted AFTER INSERT ON quiet FOR EACH ROW EXECUTE FUNCTION noted()")
        for at, one in enumerate((elsewhere, connection)):
            (before,) = connection.execute(count).fetchone()
            connection.execute(count)
            one.execute("INSERT INTO quiet VALUES (%s, 'x')", [at])
            assert connection.execute(count).fetchone() == (before + 1,)
        owner.execute("DROP TABLE quiet")
        owner.execute("CREATE TRIGGER noted AFTER INSERT ON plainly FOR EACH ROW EXECUTE FUNCTION noted()")
        for _ in range(2):
            (before,) = connection.execute(count).fetchone()
        elsewhere.execute("INSERT INTO plainly VALUES ('by who knew of no trigger')")
        assert connection.execute(count).fetchone() == (before + 1,)
        for _ in range(2):
            elsewhere.execute("SELECT count(*) FROM changing")
        owner.execute("CREATE OR REPLACE VIEW changing AS SELECT id FROM lines")
        (before,) = elsewhere.execute("SELECT count(*) FROM changing").fetchone()
        for more in (1, 2):  # the first write finds out, the second knows
            connection.execute("INSERT INTO lines (id) VALUES (%s)", [900 + more])
            for _ in range(2):
                assert elsewhere.execute("SELECT count(*) FROM changing").fetchone() == (before + more,)
                elsewhere.execute("SELECT count(*) FROM orders")
        assert other.counts["hits"] > 0
        hits = other.counts["hits"]
        connection.execute("INSERT INTO lines (id) VALUES (903)")
        elsewhere.execute("SELECT count(*) FROM orders")
        assert other.counts["hits"] == hits + 1, "who knows the schema again drops no more than it must"
    other.close()


def test_a_function_that_looks_like_a_column_or_like_postgresql_s_own_is_none_that_is_kept(
    url: str, cache: ResultCache
) -> None:
    with psycopg.connect(url, autocommit=True) as plain:
        plain.execute(
            "CREATE OR REPLACE FUNCTION total(orders) RETURNS bigint LANGUAGE sql STABLE AS"
            " 'SELECT count(*) FROM lines WHERE order_id = $1.id';"
            "CREATE OR REPLACE FUNCTION log(text, text) RETURNS void LANGUAGE sql AS 'INSERT INTO audit VALUES ($1)'"
        )
    cache.read_schema()
    with connected(cache, url) as connection:
        for _ in range(2):
            connection.execute("SELECT o.total FROM orders o WHERE id = %s", [2])
        assert hits_of(cache) == 0
        (before,) = connection.execute("SELECT count(*) FROM audit").fetchone()
        connection.execute("SELECT log('a'::text, 'b'::text)")
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (before + 1,)


def test_today_is_another_day_tomorrow_in_a_value_too(url: str, cache: ResultCache) -> None:
    with connected(cache, url) as connection:
        for _ in range(2):
            connection.execute("SELECT count(*) FROM orders WHERE made > %s::timestamptz", ["today 08:00"])
        assert hits_of(cache) == 0


def test_a_statement_that_is_served_begins_a_transaction_as_any_other_does(url: str, cache: ResultCache) -> None:
    with connected(cache, url, autocommit=False) as connection:
        for _ in range(2):
            connection.execute(ORDER, [2])
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
            connection.rollback()
        assert hits_of(cache) == 1


def test_timeouts_leave_a_connection_as_it_is_and_cursors_are_the_cache_s_own(url: str, cache: ResultCache) -> None:
    with connected(cache, url) as connection:
        connection.execute("SELECT set_config('statement_timeout', '5s', true)")
        connection.execute("SET lock_timeout = '5s'")
        with connection.transaction():
            connection.execute("SET LOCAL DateStyle = 'German'")
            connection.execute(ORDER, [2])
        for _ in range(2):
            connection.execute(ORDER, [2])
        assert hits_of(cache) == 1
        with pytest.raises(SettingsError, match="ClientCursor would write without its knowledge"):
            connection.cursor_factory = psycopg.ClientCursor
        (before,) = connection.execute("SELECT count(*) FROM audit").fetchone()
        with connection.transaction(), connection.cursor("named") as cursor:
            cursor.execute("SELECT count(*) FROM orders")
            assert cursor.fetchone() is not None
        with connection.cursor() as cursor, cursor.copy("COPY (DELETE FROM audit RETURNING *) TO STDOUT") as copying:
            gone = len(list(copying))
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (before - gone,)
    with pytest.raises(SettingsError, match="leave decode_responses out"):
        ResultCache(url, "redis://127.0.0.1/0?decode_responses=true", "x")
    with pytest.raises(SettingsError, match="trigger_writes names audit, which is no table there"):
        ResultCache(url, cache._redis_url, "x", trigger_writes={"public.audited": ["audit"]})


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
