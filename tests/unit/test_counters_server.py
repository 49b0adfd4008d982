"""Counters told to another process: what they are at that moment, or why they cannot be had."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from itertools import count
from typing import Any

import pytest

from archzero_lab.errors import MeasurementError
from archzero_lab.jobs.load.counters_server import serve_counters


def _ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def test_each_look_is_answered_with_the_counters_of_that_moment() -> None:
    numbers = count(1)
    with serve_counters({"main": lambda: {"hits": next(numbers)}, "branch": lambda: {"hits": 0}}) as (urls, failed):
        assert [_ask(urls["main"]), _ask(urls["main"]), _ask(urls["branch"])] == [{"hits": 1}, {"hits": 2}, {"hits": 0}]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            _ask(urls["main"] + "s")
    assert failed == []


@pytest.mark.parametrize(
    ("error", "told"), [(MeasurementError("Redis is away"), "Redis is away"), (ValueError("a: s3cret"), "ValueError")]
)
def test_why_counters_cannot_be_had_is_told_and_the_next_are(error: Exception, told: str) -> None:
    def fails() -> Any:
        raise error

    with serve_counters({"main": fails, "branch": lambda: {"hits": 0}}) as (urls, failed):
        with pytest.raises(urllib.error.HTTPError) as raised:
            _ask(urls["main"])
        assert json.load(raised.value) == {"error": told}
        assert _ask(urls["branch"]) == {"hits": 0}
    assert failed == [told]
