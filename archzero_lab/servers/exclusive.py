"""One command at a time measures or changes the stack of a checkout."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from archzero_lab.errors import LabError
from archzero_lab.settings import STATE, keep_out_of_git

_HELD = "ARCHZERO_LOCK_OF"
_PART_OF_ONE = os.environ.get(_HELD) == str(STATE)
"""Whether a command that measures started this process (the kernel of a notebook): it is part of it then."""
_thread = threading.local()


@contextmanager
def exclusive(what: str) -> Iterator[None]:
    """Let one command at a time measure or change the stack. Raises LabError naming the other one.

    What such a command does itself, in its thread or in a process that it started, is part of it and is let through.
    """
    if _PART_OF_ONE or getattr(_thread, "holds", False):
        yield
        return
    keep_out_of_git(STATE)
    holder = STATE / "lock.holder"  # not in the lock itself, which every attempt empties
    lock = FileLock(STATE / "lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        other = holder.read_text().strip() if holder.is_file() else ""
        raise LabError(
            f"{other or 'another command'} is running in this checkout; wait for it or stop it, then run again"
        ) from None
    try:
        holder.write_text(f"./lab {what} (pid {os.getpid()})")
        os.environ[_HELD], _thread.holds = str(STATE), True
        yield
    finally:
        os.environ.pop(_HELD, None)
        _thread.holds = False
        holder.unlink(missing_ok=True)
        lock.release()
