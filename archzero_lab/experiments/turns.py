"""Turns: experiments of one kernel, and of all on this machine, measure one after the other, in the order they came.

Two that measure at the same time disturb each other, and nothing in their numbers says so.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from archzero_lab.settings import TURNS

_LOOK_S = 0.1
_queue: deque[object] = deque()
_turned = threading.Condition()


@contextmanager
def turn(
    what: str, waits_for: Callable[[str], None] = lambda reason: None, stopped: Callable[[], bool] = lambda: False
) -> Iterator[bool]:
    """Wait until nothing else measures, then hold the machine's turn. False where it was `stopped` while it waited.

    `waits_for` is told what is waited for, in words, and "" once it is this one's turn.
    """
    place, began = object(), time.monotonic()
    with _turned:
        _queue.append(place)
    try:
        while _queue[0] is not place:
            if stopped():
                yield False
                return
            waits_for(f"waits for an experiment of this kernel, {time.monotonic() - began:.0f} s")
            with _turned:
                _turned.wait(_LOOK_S)
        TURNS.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock, holder = FileLock(TURNS / "measuring.lock", thread_local=False), TURNS / "measuring.holder"
        while True:
            try:
                lock.acquire(timeout=_LOOK_S)
                break
            except Timeout:
                if stopped():
                    yield False
                    return
                other = holder.read_text().strip() if holder.is_file() else "another process"
                waits_for(f"waits for {other}, {time.monotonic() - began:.0f} s")
        try:
            holder.write_text(f"{what} (pid {os.getpid()})")
            waits_for("")
            yield True
        finally:
            holder.unlink(missing_ok=True)
            lock.release()
    finally:
        with _turned:
            _queue.remove(place)
            _turned.notify_all()
