"""A shop whose code work_mutations.py makes worse in one place at a time; nobody's but for that."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import redis
from litestar import Litestar, get, post
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=2, max_size=4, kwargs={"row_factory": dict_row}, open=False)
cache = redis.Redis.from_url(os.environ["REDIS_URL"])
PAGE = 20


class NewOrder(msgspec.Struct):
    """An order as it is placed."""

    product_id: int
    note: str


def rows(sql: str, *values: Any) -> list[dict[str, Any]]:
    """What a statement gives."""
    with pool.connection() as connection:
        found = connection.execute(sql.encode(), values)
        return found.fetchall() if found.description else []


@get("/healthz", sync_to_thread=False)
def healthz() -> dict[str, bool]:
    """Whether it is up."""
    return {"ok": True}


@get("/products", sync_to_thread=True)
def products(category: str, after: int = 0) -> dict[str, Any]:
    """A page of a category's products, by id."""
    items = rows(
        "SELECT id, name, price_cents FROM products WHERE category = %s AND id > %s ORDER BY id LIMIT %s",
        category, after, PAGE,
    )  # fmt: skip
    return {"items": items}


@get("/products/{product_id:int}", sync_to_thread=True)
def product(product_id: int) -> dict[str, Any]:
    """A product with its reviews."""
    found = rows("SELECT id, name, category, price_cents FROM products WHERE id = %s", product_id)
    reviews = rows("SELECT rating, body FROM reviews WHERE product_id = %s ORDER BY id", product_id)
    return {**found[0], "reviews": reviews}


@get("/search", sync_to_thread=True)
def search(q: str) -> dict[str, Any]:
    """Products whose name begins with a text, from the cache where it has them."""
    key = f"shop:search:{q}"
    if (hit := cache.get(key)) is not None:
        return msgspec.json.decode(hit)
    found = {"items": rows("SELECT id, name FROM products WHERE name LIKE %s ORDER BY name LIMIT 20", f"{q}%")}
    cache.set(key, msgspec.json.encode(found), ex=60)
    return found


@get("/cheap", sync_to_thread=True)
def cheap(cents: int) -> dict[str, Any]:
    """The first products below a price."""
    return {"items": rows("SELECT id, name FROM products WHERE price_cents < %s ORDER BY id LIMIT 20", cents)}


@get("/sold", sync_to_thread=True)
def sold(day: str) -> dict[str, Any]:
    """How many orders a day had."""
    return rows("SELECT count(*) AS orders FROM orders WHERE placed_on = %s::date", day)[0]


@post("/orders", sync_to_thread=True)
def order(data: NewOrder) -> dict[str, Any]:
    """Place an order."""
    placed = rows(
        "INSERT INTO orders (product_id, placed_on, state, note) VALUES (%s, '2026-03-01', 'new', %s)"
        " RETURNING product_id",
        data.product_id, data.note,
    )[0]  # fmt: skip
    rows("UPDATE products SET sold = sold + 1 WHERE id = %s", data.product_id)
    cache.delete(f"shop:product:{data.product_id}")
    return placed


app = Litestar(
    [healthz, products, product, search, cheap, sold, order],
    on_startup=[lambda: pool.open(wait=True)],
    on_shutdown=[lambda: pool.close()],
)
