"""Waiting for what a test has started: a condition, a page."""

from __future__ import annotations

import time
import urllib.request
from typing import Any


def until(what: Any, timeout_s: float = 60) -> Any:
    """What a callable gives once it gives something; whoever does not listen yet is asked again."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if given := what():
                return given
        except OSError:
            pass  # it does not listen yet
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def get(url: str) -> Any:
    """The text of a page."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()
