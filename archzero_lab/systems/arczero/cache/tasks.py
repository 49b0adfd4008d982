"""Background tasks that are surely ended."""

from __future__ import annotations

import asyncio
from typing import Any


async def end_task(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task until it is done: on Python 3.11 a cancellation can get lost where a wait ends at that moment."""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.2)
