"""Progress of long work: one line that says what, how far, and how long is left; plain lines where no one watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Reporter:
    """Tells a person at a terminal with a bar, a log with a line every `quiet_s` seconds."""

    def __init__(self, console: Console, quiet_s: float = 10.0) -> None:
        self.console = console
        self._quiet_s = quiet_s

    @contextmanager
    def work(self, what: str) -> Iterator[Callable[[float], None]]:
        """Show `what` while the block runs; the callable takes the share done, 0 to 1."""
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description:<12}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task(what, total=1.0)
                began = time.monotonic()
                yield lambda share: bar.update(task, completed=share)
            self.console.print(f"{what:<12} {time.monotonic() - began:6.1f} s", highlight=False)
            return
        began = told = time.monotonic()

        def tell(share: float) -> None:
            nonlocal told
            now = time.monotonic()
            if now - told >= self._quiet_s and share > 0:
                told = now
                left = (now - began) / share * (1 - share)
                self.console.print(f"{what:<12} {share:4.0%}, about {left:.0f} s left", highlight=False)

        yield tell
        self.console.print(f"{what:<12} {time.monotonic() - began:6.1f} s", highlight=False)
