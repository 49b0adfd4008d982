"""A recorded access log sent again at its own times, split over the processes of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pace
from access_log import Entry, read_log
from actions import Call
from locust.runners import WorkerRunner

_NUMBER = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+(?=/|$)")


@dataclass(frozen=True)
class Due:
    """A call, so many seconds after the log's first at its own speed."""

    at_s: float
    call: Call


ENTRIES: list[Due] = []
"""What is to be sent; filled before the run from the option --replay-log."""


def read(path: str) -> None:
    """Take the requests of a log. Raises LogError or OSError as access_log does."""
    ENTRIES[:] = [Due(entry.at_s, _call(entry)) for entry in read_log(path)[0]]


def _call(entry: Entry) -> Call:
    plain = entry.path.partition("?")[0]
    name = f"{entry.method} {_NUMBER.sub('*', plain)}"
    return Call(name, entry.path, (), entry.method, 0, entry.body, entry.media_type)


def mine(runner: Any) -> list[Due]:
    """This process' part of the log: every n-th entry of n processes."""
    index = runner.worker_index if isinstance(runner, WorkerRunner) else 0
    return ENTRIES[index :: pace.CURRENT.processes]


def length_s(speed: float) -> float:
    """How long the log takes."""
    return ENTRIES[-1].at_s / speed if ENTRIES else 0.0
