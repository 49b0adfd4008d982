"""What the cache of results counts of its reloads: those that a write made needful, and those that it did not."""

from __future__ import annotations

from archzero_lab.postgres.result_cache import ResultCache
from tests.integration.result_shop import cache, connected, url

__all__ = ["cache", "url"]


def test_a_reload_that_brings_the_same_back_is_needless(url: str, cache: ResultCache) -> None:
    with connected(cache, url) as connection:

        def reloaded() -> tuple[int, int]:
            counted = cache.counts["reloads"], cache.counts["needless_reloads"]
            cache.counts.clear()
            return counted

        asked = "SELECT name FROM orders WHERE open AND id < 15 ORDER BY id"
        connection.execute(asked)
        assert reloaded() == (0, 0), "a first load takes the place of nothing"
        connection.execute("UPDATE orders SET price = price + 1 WHERE id = 4")
        connection.execute(asked)
        assert reloaded() == (1, 1)
        connection.execute("UPDATE orders SET name = name || '?' WHERE id = 4")
        connection.execute(asked)
        assert reloaded() == (1, 0)
        connection.execute(asked)
        assert reloaded() == (0, 0)
