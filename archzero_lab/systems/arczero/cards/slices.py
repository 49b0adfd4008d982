"""Long work on an event loop in slices: others are answered between two of them.

A thread would have to share the interpreter with the loop: each of the loop's many short calls would wait until the
thread lets go, and a request has dozens.
"""

from __future__ import annotations

import asyncio
import time

_LONGEST_S = 0.002


class Slices:
    """Begins with the first slice."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def give_way(self) -> None:
        """Let others have their turn where this slice has been long enough."""
        if time.perf_counter() - self._began > _LONGEST_S:
            await asyncio.sleep(0)
            self._began = time.perf_counter()
