"""The file that Datasette serves: 200,000 products, then what index.sql adds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).parent
CATEGORIES = 4_000

if __name__ == "__main__":
    path = HERE / "shop.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, category TEXT, price_cents INTEGER)"
        )
        database.executemany(
            "INSERT INTO products VALUES (?, ?, ?, ?)",
            ((id, f"product {id}", f"c{id * 7 % CATEGORIES}", id * 97 % 100_000) for id in range(1, 200_001)),
        )
        database.executescript((HERE / "index.sql").read_text())
        database.commit()
