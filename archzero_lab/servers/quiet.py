"""Whether a process of ours waits, with all that it started: not a thread of it runs, or would if it got a core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from archzero_lab.servers.process import ProcessRecord


def family(process: ProcessRecord | None) -> list[int]:
    """A process and all that it started; none where it is not ours."""
    if process is None:
        return []
    try:
        parent = psutil.Process(process.pid)
        return [parent.pid, *(child.pid for child in parent.children(recursive=True))]
    except psutil.Error:
        return []


def is_waiting(pids: list[int]) -> bool:
    """Whether every thread of these processes waits for something; one that has ended does."""
    return not any(state in "RD" for pid in pids for state in _states(pid))


def _states(pid: int) -> Iterator[str]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return  # it has ended
    for thread in threads:
        try:
            yield Path(f"/proc/{pid}/task/{thread}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            continue  # it has ended
