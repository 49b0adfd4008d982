"""A small shop: products listed, looked up, searched, exported and added. It knows nothing of the lab."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar, Request, get, post
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.response import Stream
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

SIZE = int(os.environ.get("POOL_SIZE", "8"))
pool = ConnectionPool(
    os.environ["DATABASE_URL"], min_size=min(2, SIZE), max_size=SIZE, kwargs={"row_factory": dict_row}, open=False
)

PAGE = 20


class NewProduct(msgspec.Struct):
    """A product as it is added."""

    name: str
    category: str
    price_cents: int


def rows(sql: str, *values: Any) -> list[dict[str, Any]]:
    """What a statement gives."""
    with pool.connection() as connection:
        return connection.execute(sql.encode(), values).fetchall()


@get("/healthz", sync_to_thread=False)
def healthz() -> dict[str, bool]:
    """Whether it is up."""
    return {"ok": True}


@get("/products", sync_to_thread=True)
def products(category: str | None = None, page: int = 1) -> dict[str, Any]:
    """A page of products, the newest first."""
    where, values = ("WHERE category = %s", (category,)) if category else ("", ())
    items = rows(
        f"SELECT id, name, category, price_cents FROM products {where} ORDER BY created_at DESC, id DESC"
        " LIMIT %s OFFSET %s",
        *values, PAGE, (page - 1) * PAGE,
    )  # fmt: skip
    total = rows(f"SELECT count(*) FROM products {where}", *values)[0]["count"]
    return {"total": total, "items": items}


@get("/products/{product_id:int}", sync_to_thread=True)
def product(product_id: int) -> dict[str, Any]:
    """A product with its reviews."""
    found = rows("SELECT id, name, category, price_cents FROM products WHERE id = %s", product_id)
    if not found:
        raise NotFoundException(f"no product {product_id}")
    reviews = rows("SELECT rating, body FROM reviews WHERE product_id = %s ORDER BY id", product_id)
    return {**found[0], "reviews": reviews}


@get("/search", sync_to_thread=True)
def search(q: str) -> dict[str, Any]:
    """Products whose name holds a text."""
    return {
        "items": rows("SELECT id, name, price_cents FROM products WHERE name ILIKE %s ORDER BY id LIMIT 20", f"%{q}%")
    }


@get("/export", sync_to_thread=True)
def export() -> Stream:
    """The first products as CSV, streamed."""

    def lines() -> Iterator[str]:
        for row in rows("SELECT id, name FROM products ORDER BY id LIMIT 500"):
            yield f"{row['id']},{row['name']}\n"

    return Stream(lines(), media_type="text/csv")


@post("/products", sync_to_thread=True)
def add(request: Request[Any, Any, Any], data: NewProduct) -> dict[str, Any]:
    """Add a product; wants the token."""
    if request.headers.get("authorization") != f"Bearer {os.environ.get('SHOP_TOKEN', 'shop')}":
        raise NotAuthorizedException("wrong token")
    return rows(
        "INSERT INTO products (name, category, price_cents, created_at) VALUES (%s, %s, %s, now()) RETURNING id, name",
        data.name, data.category, data.price_cents,
    )[0]  # fmt: skip


app = Litestar(
    [healthz, products, product, search, export, add],
    on_startup=[lambda: pool.open(wait=True)],
    on_shutdown=[lambda: pool.close()],
)
