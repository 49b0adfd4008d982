"""What a statement reads and writes, told by its parse tree and a schema."""

from __future__ import annotations

from typing import Any

import pytest

from archzero_lab.postgres.result_cache.effects import UNKNOWN, Effects, effects_of, resolve_views
from archzero_lab.postgres.result_cache.rows import Row
from archzero_lab.postgres.result_cache.schema import EVERYTHING, Schema, Table


def _table(name: str, **more: Any) -> Table:
    whole = frozenset({f"public.{name}"})
    given: dict[str, Any] = {"plain": True, "key": "id", "reads": whole, "family": whole, "after_any": whole}
    return Table(f"public.{name}", **given | more)


@pytest.fixture
def schema() -> Schema:
    lines, everything = frozenset({"public.lines"}), frozenset({EVERYTHING})
    tables = [
        _table("orders", after_delete=lines, after_any=frozenset({"public.orders", "public.lines"})),
        _table("lines", key=None), _table("secret", plain=False),
        _table("logged", after_any=everything, after_insert=everything, after_update=everything,
               after_delete=everything),
        _table("tree", after_delete=frozenset({"public.tree"}), after_update=frozenset({"public.tree"})),
        _table("part", key=None, family=frozenset({"public.part", "public.whole"}),
               after_any=frozenset({"public.part", "public.whole"})),
    ]  # fmt: skip
    volatile = {
        (True, "lower"): {"i"}, (True, "row_to_json"): {"s"}, (True, "now"): {"s"}, (True, "count"): {"i"},
        (True, "set_config"): {"v"}, (True, "random"): {"v"}, (True, "log"): {"i"}, (True, "table_to_xml"): {"s"},
        (False, "log"): {"v"}, (False, "folded"): {"i"}, (False, "rate"): {"s"}, (False, "book"): {"v"},
    }  # fmt: skip
    made = Schema(
        {table.name: table for table in tables}, ("public",), volatile, aggregates={"count"}, operators={"<->"},
        settings={"pg_trgm.limit"},
    )  # fmt: skip
    made.views = {
        "public.recent": "SELECT o.id FROM orders o JOIN lines l ON l.order_id = o.id",
        "public.of_recent": "SELECT count(*) FROM recent",
        "public.today": "SELECT * FROM orders WHERE day = CURRENT_DATE",
    }
    resolve_views(made)
    return made


ORDERS, LINES = "public.orders", "public.lines"


@pytest.mark.parametrize(
    ("sql", "reads", "row"),
    [
        ("SELECT * FROM orders", {ORDERS}, None),
        ("SELECT lower(o.name), folded(o.name) FROM public.orders o WHERE o.id = $1", {ORDERS}, Row(ORDERS, 0)),
        ("SELECT row_to_json(o) FROM orders o WHERE $2 = id AND open", {ORDERS}, Row(ORDERS, 1)),
        ("SELECT * FROM orders WHERE id = $1::uuid", {ORDERS}, Row(ORDERS, 0)),
        ("SELECT * FROM orders WHERE id = $1 OR open", {ORDERS}, None),
        ("SELECT count(*) FROM orders WHERE id = $1", {ORDERS}, None),
        ("SELECT 1 FROM orders WHERE id = $1 HAVING true", {ORDERS}, None),
        ("SELECT * FROM orders WHERE id = $1::real", {ORDERS}, None),
        ("SELECT * FROM orders AS o(a, id) WHERE id = $1", {ORDERS}, None),
        ("SELECT * FROM orders WHERE id > $1", {ORDERS}, None),
        ("SELECT * FROM orders WHERE other.id = $1", {ORDERS}, None),
        ("SELECT * FROM orders o JOIN lines l ON l.order_id = o.id WHERE o.id = $1", {ORDERS, LINES}, None),
        ("SELECT * FROM orders WHERE id = $1 AND EXISTS (SELECT FROM lines)", {ORDERS, LINES}, None),
        ("SELECT * FROM orders o WHERE id = $1 UNION SELECT * FROM orders", {ORDERS}, None),
        ("WITH orders AS (SELECT * FROM lines) SELECT * FROM orders", {ORDERS, LINES}, None),
        ("WITH x AS (SELECT * FROM lines) SELECT count(*) FROM x", {LINES}, None),
        ("SELECT * FROM of_recent", {ORDERS, LINES}, None),
    ],
)
def test_a_reading_depends_on_its_tables_or_on_one_row(
    schema: Schema, sql: str, reads: set[str], row: Row | None
) -> None:
    assert effects_of(sql, schema) == Effects(cacheable=True, reads=frozenset(reads), row=row)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1", "SELECT now(), o.* FROM orders o", "SELECT CURRENT_DATE, o.* FROM orders o", "SELECT * FROM secret",
        "SELECT random() FROM orders", "SELECT * FROM orders FOR UPDATE", "SELECT * FROM unheard_of",
        "SELECT rate(price) FROM orders", "SELECT * FROM today", "SELECT * FROM orders TABLESAMPLE system (10)",
        "SELECT * FROM orders WHERE day > 'now'::timestamp",
        "LISTEN x", "NOTIFY x", "LOCK TABLE orders", "DECLARE c CURSOR FOR SELECT * FROM orders", "FETCH c",
        "SELECT set_config('app.who', $1, true) FROM orders",
        "SELECT o.rate FROM orders o", "SELECT (o).rate FROM orders o", "SELECT a <-> b FROM orders",
        "SELECT table_to_xml('lines', true, true, '') FROM orders", "SELECT * FROM orders WHERE day > 'today 08:00'",
        "RESET ALL", "DISCARD ALL", "SET statement_timeout = '1s'", "SET LOCAL lock_timeout = '1s'",
        "SELECT set_config('statement_timeout', '1s', true)", "COPY (SELECT * FROM orders) TO STDOUT",
        "SHOW timezone", "EXPLAIN SELECT * FROM orders", "COPY orders TO STDOUT", "BEGIN", "COMMIT", "",
    ],
)  # fmt: skip
def test_what_another_moment_or_connection_would_answer_otherwise_is_not_kept_and_writes_nothing(
    schema: Schema, sql: str
) -> None:
    assert effects_of(sql, schema) == Effects()


@pytest.mark.parametrize(
    ("sql", "effects"),
    [
        ("INSERT INTO orders VALUES ($1)", Effects(inserts=frozenset({ORDERS}))),
        ("COPY lines FROM STDIN", Effects(inserts=frozenset({LINES}))),
        ("INSERT INTO lines VALUES ($1) ON CONFLICT DO NOTHING", Effects(writes=frozenset({LINES}))),
        ("UPDATE orders o SET name = $1 WHERE o.id = $2", Effects(rows=(Row(ORDERS, 1),))),
        (
            "WITH x AS (SELECT 1) UPDATE orders SET name = $1 FROM x WHERE id = $2",
            Effects(rows=(Row(ORDERS, 1),)),
        ),
        ("UPDATE orders SET id = $1 WHERE id = $2", Effects(writes=frozenset({ORDERS, LINES}))),
        ("DELETE FROM orders WHERE id = $1", Effects(writes=frozenset({LINES}), rows=(Row(ORDERS, 0),))),
        ("DELETE FROM orders WHERE id = $1 OR open", Effects(writes=frozenset({ORDERS, LINES}))),
        ("DELETE FROM tree WHERE id = $1", Effects(writes=frozenset({"public.tree"}))),
        ("UPDATE part SET a = 1", Effects(writes=frozenset({"public.part", "public.whole"}))),
        (
            "UPDATE logged SET a = 1 WHERE id = $1",
            Effects(writes=frozenset({EVERYTHING}), rows=(Row("public.logged", 0),)),
        ),
        ("WITH gone AS (DELETE FROM lines RETURNING 1) SELECT count(*) FROM gone", Effects(writes=frozenset({LINES}))),
        ("SELECT book(id) FROM orders", UNKNOWN),
        ("SELECT * INTO copied FROM orders", UNKNOWN),
        ("UPDATE tree SET a = 1 WHERE id = $1", Effects(writes=frozenset({"public.tree"}))),
        ("INSERT INTO recent VALUES (1)", Effects(writes=frozenset({EVERYTHING}))),
        ("EXPLAIN ANALYZE DELETE FROM orders", UNKNOWN),
        ("SELECT 1; DELETE FROM orders", UNKNOWN),
        ("no SQL at all", UNKNOWN),
        ("TRUNCATE orders", UNKNOWN),
        ("SET search_path = other", Effects(session=True)),
        ("SET LOCAL DateStyle = 'German'", Effects(transaction=True)),
        ("SELECT set_config('pg_trgm.limit', '0.1', true)", Effects(transaction=True)),
        ("SELECT set_config('a', 'b', true) FROM orders", Effects(transaction=True)),
        ("SELECT log(a, b) FROM orders", UNKNOWN),
        ("COPY (DELETE FROM lines RETURNING *) TO STDOUT", Effects(writes=frozenset({LINES}))),
        ("DECLARE c CURSOR FOR SELECT book(id) FROM orders", UNKNOWN),
        ("SELECT set_config('search_path', 'other', false)", Effects(session=True)),
        ("SELECT set_config($1, $2, false)", Effects(session=True)),
        ("COPY recent FROM STDIN", UNKNOWN),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", Effects(transaction=True)),
        ("COMMIT PREPARED 'x'", UNKNOWN),
    ],
)  # fmt: skip
def test_a_write_touches_rows_tables_or_everything(schema: Schema, sql: str, effects: Effects) -> None:
    assert effects_of(sql, schema) == effects
