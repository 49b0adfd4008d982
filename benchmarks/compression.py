"""From what size on does compressing a cached document pay? Time of a hit, plain and compressed, and the memory saved.

    PYTHONPATH=. .venv/bin/python benchmarks/compression.py

Real list documents of 1 to 100 cards; a GET and, where compressed, zlib's decompression, interleaved in random order.
Prints JSON, a row a size.
"""

from __future__ import annotations

import json
import random
import time
import zlib

import redis

from archzero_lab.postgres.connection import connect
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import load_settings
from archzero_lab.systems.arczero.cards.model import CardFilter
from archzero_lab.systems.arczero.cards.search import list_statement
from archzero_lab.systems.arczero.portfolios import choose_portfolio, drop_arms, ensure_base, make_arms

REPEATS = 400


def main() -> None:
    """Measure each size."""
    rows = []
    with exclusive("benchmark"), running_stack(load_settings()) as stack:
        base = ensure_base(stack, choose_portfolio(2_000, 1, None, None), lambda share: None)
        urls = make_arms(stack, base, "bench", lambda *_: None)
        client = redis.Redis.from_url(stack.redis_url)
        rng = random.Random(1)
        with connect(urls["control"]) as connection:
            for cards in (1, 5, 10, 20, 40, 60, 100):
                sql, params = list_statement(CardFilter(page_size=cards))
                row = connection.execute(sql, params).fetchone()
                assert row is not None
                body = bytes(row[0])
                began = time.perf_counter()
                packed = zlib.compress(body, 1)
                compress_us = (time.perf_counter() - began) * 1e6
                client.set("compression:plain", body)
                client.set("compression:packed", packed)
                times: dict[str, list[float]] = {"plain": [], "packed": []}
                for _ in range(REPEATS):
                    for how in rng.sample(("plain", "packed"), 2):
                        began = time.perf_counter()
                        value = client.get(f"compression:{how}")
                        if how == "packed":
                            value = zlib.decompress(value)
                        times[how].append(time.perf_counter() - began)
                        assert value == body
                medians = {how: sorted(found)[len(found) // 2] * 1e6 for how, found in times.items()}
                rows.append(
                    {
                        "cards": cards,
                        "bytes": len(body),
                        "packed_share": round(len(packed) / len(body), 3),
                        "compress_us": round(compress_us),
                        "hit_us_plain": round(medians["plain"]),
                        "hit_us_packed": round(medians["packed"]),
                    }
                )
        client.delete("compression:plain", "compression:packed")
        drop_arms(stack, "bench")
    for measured in rows:
        print(json.dumps(measured))


if __name__ == "__main__":
    main()
