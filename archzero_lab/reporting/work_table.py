"""What a request made the database and the cache do in each arm of a claim, counted beside its time."""

from __future__ import annotations

from typing import Any

from archzero_lab.reporting.tables import in_three_digits

_WORK = {
    "statements_per_1000": "statements", "rows_per_1000": "rows", "blocks_per_1000": "blocks read",
    "temporary_blocks_per_1000": "temporary blocks", "wal_bytes_per_1000": "WAL bytes",
    "redis_calls_per_1000": "calls of Redis",
}  # fmt: skip


def work_table(claim: dict[str, Any]) -> list[list[str]]:
    """A head with the arms, then a row a counter, each of one request; empty for a claim that counted none."""
    told_of = claim.get("mechanism", {})
    counted = {arm: told for arm, told in told_of.items() if isinstance(told, dict) and "requests" in told}
    rows = [
        [name, *("" if told.get(key) is None else in_three_digits(told[key] / 1000) for told in counted.values())]
        for key, name in _WORK.items()
        if any(told.get(key) is not None for told in counted.values())
    ]
    if not rows:
        return []
    hits = [
        in_three_digits(told["cache_hits"] / told["requests"]) if told["requests"] else "" for told in counted.values()
    ]
    return [["a request", *counted], *rows, ["found in the cache", *hits]]
