"""What a request made the database and the cache do in each arm of a claim, counted beside its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from archzero_lab.postgres.sql_text import shortened
from archzero_lab.reporting.tables import in_three_digits

_WORK = {
    "statements_per_1000": "statements", "rows_per_1000": "rows", "blocks_per_1000": "blocks read",
    "temporary_blocks_per_1000": "temporary blocks", "wal_bytes_per_1000": "WAL bytes",
    "redis_calls_per_1000": "calls of Redis",
}  # fmt: skip
_MOST = 200
"""Letters of a statement that are shown."""


def work_table(claim: dict[str, Any]) -> list[list[str]]:
    """A head with the arms, then a row a counter, each of one request; empty for a claim that counted none."""
    counted = _counters_of(claim)
    rows = [
        [name, *("" if one.get(key) is None else in_three_digits(one[key] / 1000) for one in counted.values())]
        for key, name in _WORK.items()
        if any(one.get(key) is not None for one in counted.values())
    ]
    if not rows:
        return []
    hits = [in_three_digits(one["cache_hits"] / one["requests"]) if one["requests"] else "" for one in counted.values()]
    return [["a request", *counted], *rows, ["found in the cache", *hits]]


def _counters_of(claim: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The counters of each arm of a claim."""
    mechanism = claim.get("mechanism", {})
    return {arm: one for arm, one in mechanism.items() if isinstance(one, dict) and "requests" in one}


def statements_table(claim: dict[str, Any], statements: pd.DataFrame) -> list[list[str]]:
    """A head with the arms, then a row a statement with what one request makes of it, the most blocks first.

    `statements` is run_folders.run.Run.statements; empty for a claim that counted none.
    """
    requests = {arm: one["requests"] for arm, one in _counters_of(claim).items()}
    mine = statements[(statements["claim"] == claim["id"]) & statements["arm"].isin(list(requests))]
    if mine.empty:
        return []
    summed = mine.groupby(["statement", "arm"])[["calls", "rows", "blocks"]].sum()
    order = mine.groupby("statement")[["blocks", "calls"]].sum().sort_values(["blocks", "calls"], ascending=False)

    def cell(text: str, arm: str) -> str:
        if (text, arm) not in summed.index or not requests[arm]:
            return "not sent"
        calls, rows, blocks = (float(number) / requests[arm] for number in summed.loc[(text, arm)])
        return f"{_counted(calls, 'call')}, {_counted(rows, 'row')}, {_counted(blocks, 'block')}"

    return [
        ["a request", *requests],
        *([shortened(text, _MOST), *(cell(text, arm) for arm in requests)] for text in order.index),
    ]


def _counted(number: float, what: str) -> str:
    return f"{in_three_digits(number)} {what}{'' if number == 1 else 's'}"


def work_section(work: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of both arms as the first page shows them: a line a kind of request, a cell a counter."""
    heads = [name for name in work["kinds"][0]["counts"] if any(_is_counted(kind, name) for kind in work["kinds"])]
    lines = [
        {
            "kind": kind["kind"],
            "cells": [_beside(kind["counts"][name]) for name in heads],
            "differences": kind["differences"],
            "more": kind["more"],
        }
        for kind in work["kinds"]
    ]
    return {"rows": work["rows"], "arms": work["arms"], "heads": heads, "lines": lines}


def _is_counted(kind: Mapping[str, Any], name: str) -> bool:
    return any(kind["counts"][name])


def _beside(values: Sequence[float | None]) -> str:
    """ "231 → 12 (0)": the control, the treatment, the treatment asked again."""
    known = ["" if value is None else in_three_digits(value) for value in values]
    if not any(known):
        return ""
    said = known[0] if known[0] == known[1] else f"{known[0]} → {known[1]}"
    return f"{said} ({known[2]})" if len(known) > 2 and known[2] != known[1] else said
