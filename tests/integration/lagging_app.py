"""A small shop with read-after-write faults planted in it: python lagging_app.py [right].

Each function named fault_* reads from the replica what it has just written, or fills a cache with it; each named
right_* asks the primary, or what nobody changed. With `right` only those run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import psycopg
import redis

WRITER = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
READER = psycopg.connect(os.environ["REPLICA_URL"], autocommit=True)
CACHE = redis.Redis.from_url(os.environ["REDIS_URL"]) if "REDIS_URL" in os.environ else None


def write(sql: str, *values: object) -> None:
    WRITER.execute(sql, values or None)


def order(total: int = 10) -> int:
    row = WRITER.execute(
        "INSERT INTO orders (customer, status, total) VALUES (1, 'new', %s) RETURNING id", [total]
    ).fetchone()
    assert row is not None
    return int(row[0])


def fault_01_read_what_was_inserted() -> None:
    made = order()
    READER.execute("SELECT status FROM orders WHERE id = %s", [made]).fetchone()  # planted


def fault_02_count_after_an_insert() -> None:
    order()
    READER.execute("SELECT count(*) FROM orders").fetchone()  # planted


def fault_03_list_after_an_insert() -> None:
    order()
    READER.execute("SELECT id, status FROM orders ORDER BY id DESC LIMIT 5").fetchall()  # planted


def fault_04_read_what_was_updated() -> None:
    write("UPDATE customers SET name = name || '.' WHERE id = 1")
    READER.execute("SELECT name FROM customers WHERE id = 1").fetchone()  # planted


def fault_05_read_what_was_deleted() -> None:
    write("DELETE FROM coupons WHERE code = 'FIVE'")
    READER.execute("SELECT code FROM coupons WHERE code = 'FIVE'").fetchone()  # planted


def fault_06_sum_after_an_update() -> None:
    write("UPDATE orders SET total = total + 1 WHERE id = 1")
    READER.execute("SELECT sum(total) FROM orders").fetchone()  # planted


def fault_07_join_with_what_was_updated() -> None:
    write("UPDATE customers SET name = name || '!' WHERE id = 2")
    READER.execute("SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer").fetchall()  # planted


def fault_08_exists_after_an_insert() -> None:
    write("INSERT INTO coupons VALUES ('TEN')")
    READER.execute("SELECT EXISTS (SELECT FROM coupons WHERE code = 'TEN')").fetchone()  # planted


def fault_09_in_a_transaction() -> None:
    with WRITER.transaction():
        write("UPDATE orders SET status = 'paid' WHERE id = 2")
    READER.execute("SELECT status FROM orders WHERE id = 2").fetchone()  # planted


def fault_10_in_a_read_only_transaction() -> None:
    write("UPDATE orders SET status = 'sent' WHERE id = 3")
    with READER.transaction():
        READER.execute("SELECT status FROM orders WHERE id = 3").fetchone()  # planted


def fault_11_a_with_query() -> None:
    order(99)
    query = "WITH dear AS (SELECT FROM orders WHERE total > 50) SELECT count(*) FROM dear"
    READER.execute(query).fetchone()  # planted


def fault_12_binary_results() -> None:
    made = order()
    with READER.cursor(binary=True) as cursor:
        cursor.execute("SELECT id, total FROM orders WHERE id = %s", [made]).fetchone()  # planted


def fault_13_a_prepared_statement() -> None:
    for total in range(3):
        write("UPDATE orders SET total = %s WHERE id = 1", 1_000 + total)
        READER.execute("SELECT total FROM orders WHERE id = %s", [1], prepare=True).fetchone()  # planted


def fault_14_a_pipeline() -> None:
    write("UPDATE orders SET status = 'back' WHERE id = 3")
    with READER.pipeline():
        cursor = READER.execute("SELECT status FROM orders WHERE id = %s", [3])  # planted
        READER.execute("SELECT 1")
    cursor.fetchone()


def fault_15_several_statements_in_one_text() -> None:
    write("INSERT INTO coupons VALUES ('TWENTY')")
    READER.execute("SELECT count(*) FROM coupons")  # planted


def fault_16_a_composed_query() -> None:
    write("INSERT INTO coupons VALUES ('THIRTY')")
    query = psycopg.sql.SQL("SELECT code FROM {}").format(psycopg.sql.Identifier("coupons"))
    READER.execute(query).fetchall()  # planted


def fault_17_a_stream() -> None:
    order()
    for _ in READER.cursor().stream("SELECT id FROM orders"):  # planted
        pass


def fault_18_after_copy() -> None:
    with WRITER.cursor().copy("COPY coupons FROM STDIN") as copy:
        copy.write_row(["FORTY"])
    READER.execute("SELECT count(*) FROM coupons WHERE code = 'FORTY'").fetchone()  # planted


def fault_19_fill_a_cache() -> None:
    write("UPDATE customers SET name = 'Grace' WHERE id = 1")
    row = READER.execute("SELECT name FROM customers WHERE id = 1").fetchone()  # planted
    if CACHE is not None and row is not None:
        CACHE.set("customer:1", row[0], ex=60)


def fault_20_an_upsert() -> None:
    write("INSERT INTO customers VALUES (2, 'Edsger') ON CONFLICT (id) DO UPDATE SET name = excluded.name")
    READER.execute("SELECT name FROM customers WHERE id = 2").fetchone()  # planted


def right_ask_the_primary() -> None:
    made = order()
    WRITER.execute("SELECT status FROM orders WHERE id = %s", [made]).fetchone()


def right_ask_for_what_nobody_changed() -> None:
    READER.execute("SELECT name FROM countries ORDER BY name").fetchall()
    READER.execute("SELECT count(*) FROM countries").fetchone()


def right_wait_for_the_replica() -> None:
    made = order()
    deadline = time.monotonic() + 60
    position = WRITER.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    asked = "SELECT coalesce(pg_last_wal_replay_lsn() >= %s::pg_lsn, true)"
    while READER.execute(asked, position).fetchone() != (True,) and time.monotonic() < deadline:
        time.sleep(0.02)
    READER.execute("SELECT status FROM orders WHERE id = %s", [made]).fetchone()


def main() -> None:
    wanted = "right_" if sys.argv[1:] == ["right"] else "fault_"
    functions: list[Callable[[], None]] = [one for name, one in globals().items() if name.startswith(wanted)]
    for function in functions:
        function()


if __name__ == "__main__":
    main()
