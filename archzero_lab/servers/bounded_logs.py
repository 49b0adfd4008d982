"""Logs that do not grow without end: of one that is too long the end is kept."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from archzero_lab.servers.server_home import server_home
from archzero_lab.settings import STATE

MOST_BYTES = 16 * 2**20
_KEPT_BYTES = 2**20


def bound_logs(most: int = MOST_BYTES) -> None:
    """Cut the logs of this checkout's processes that are longer than `most` bytes; cheap where none is.

    They write with O_APPEND, so that they go on where the file ends then. What is written in that moment is lost.
    """
    for log in _logs():
        if not log.is_symlink() and log.is_file() and log.stat().st_size > most:
            _keep_end(log, min(most, _KEPT_BYTES))


def _logs() -> Iterable[Path]:
    yield from (STATE / "logs").glob("*.log")
    yield from server_home(STATE).glob("*.log")


def _keep_end(log: Path, kept: int) -> None:
    descriptor = os.open(log, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "r+b") as file:
        file.seek(-kept, os.SEEK_END)
        end = file.read().partition(b"\n")[2]
        file.seek(0)
        file.truncate()
        file.write(b"(what was before is cut)\n" + end)
