"""Signals that come while a process is forked are handled after it: an exception raised inside a fork would be lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STOPPING = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Run the block whole, then the handlers of the stopping signals that came meanwhile.

    CPython runs hooks of Python code around a fork (logging has some) and only prints what they raise: a Ctrl-C that
    arrives during the milliseconds of fork() is raised in such a hook, and nobody hears of it. Signals that nobody
    handles in Python keep their effect; threads other than the main one handle none, and run the block as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def keep(number: int, _frame: Any) -> None:
        came.append(number)

    handlers = {number: current for number in _STOPPING if callable(current := signal.getsignal(number))}
    try:
        for number in handlers:
            signal.signal(number, keep)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)
