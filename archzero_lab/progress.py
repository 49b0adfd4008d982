"""Progress of long work: one line that says what, how far, and how long is left; plain lines where no one watches.

For another program, such as the panel in a notebook, the same as JSON lines.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Reporter:
    """Tells a person at a terminal with a bar, a log with a line every `quiet_s` seconds."""

    def __init__(self, console: Console, quiet_s: float = 10.0) -> None:
        self.console = console
        self._quiet_s = quiet_s
        self._expected: dict[str, float] = {}
        self.stop_asked = threading.Event()
        """Set where somebody wants it to end after the current block."""

    def expect(self, stages: Mapping[str, float]) -> None:
        """Say how many seconds each stage of the whole is expected to take, in their order."""
        self._expected = dict(stages)

    def note(self, text: str) -> None:
        """Tell a line that is not of the progress itself."""
        self.console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)

    def block(self, claim: str, block: int, values_ms: dict[str, float]) -> None:
        """A block of a claim is measured: the median of each of its arms, in ms."""

    def _of_the_whole(self, what: str, left_s: float | None) -> str:
        """What comes after a stage, and how long the whole still takes."""
        names = list(self._expected)
        if what not in names:
            return ""
        after = {name: self._expected[name] for name in names[names.index(what) + 1 :] if self._expected[name]}
        seconds = sum(after.values()) + (self._expected[what] if left_s is None else left_s)
        if not after:
            return ""
        whole = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(5, round(seconds / 5) * 5)} s"
        return f"then {next(iter(after))}; {whole} in all"

    @contextmanager
    def work(self, what: str) -> Iterator[Callable[[float], None]]:
        """Show `what` while the block runs; the callable takes the share done, 0 to 1."""
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description:<10}"),
                BarColumn(bar_width=14),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[rest]}"),
            )
            with Progress(*columns, console=self.console, transient=True) as bar:
                began = time.monotonic()
                # what says nothing of its share has no end that could be seen: its bar goes to and fro
                task = bar.add_task(what, total=None, rest=self._of_the_whole(what, None))

                def show(share: float) -> None:
                    left = (time.monotonic() - began) / share * (1 - share) if share > 0 else None
                    own = f"{left:.0f} s left" if left is not None else ""
                    rest = "; ".join(filter(None, [own, self._of_the_whole(what, left)]))
                    bar.update(task, total=1.0, completed=share, rest=rest)

                yield show
            self.console.print(f"{what:<12} {time.monotonic() - began:6.1f} s", highlight=False)
            return
        began = last = time.monotonic()

        def tell(share: float) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= self._quiet_s and share > 0:
                last = now
                left = (now - began) / share * (1 - share)
                rest = self._of_the_whole(what, left)
                line = f"{what:<12} {share:4.0%}, about {left:.0f} s left" + (f"; {rest}" if rest else "")
                self.console.print(line, highlight=False)

        yield tell
        self.console.print(f"{what:<12} {time.monotonic() - began:6.1f} s", highlight=False)


class JsonReporter(Reporter):
    """Tells a program: a JSON object a line on stdout. The word `stop` on stdin asks for the end after the block.

    Where stdin is a pipe and ends, the other program is gone, and so is the reason to go on.
    """

    def __init__(self) -> None:
        super().__init__(Console(file=sys.stderr, quiet=True))
        if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):  # not of a terminal or /dev/null
            threading.Thread(target=self._listen, daemon=True, name="listener").start()

    @contextmanager
    def work(self, what: str) -> Iterator[Callable[[float], None]]:
        """Tell of each step."""
        self.say({"stage": what, "share": 0.0})
        yield lambda share: self.say({"stage": what, "share": round(share, 4)})
        self.say({"stage": what, "share": 1.0})

    def note(self, text: str) -> None:
        """Tell of it."""
        self.say({"note": text})

    def block(self, claim: str, block: int, values_ms: dict[str, float]) -> None:
        """Tell of a measured block."""
        self.say({"claim": claim, "block": block, "ms": values_ms})

    def say(self, event: dict[str, Any]) -> None:
        """Write one object."""
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                self.stop_asked.set()
        os.kill(os.getpid(), signal.SIGINT)


QUIET = Reporter(Console(quiet=True))
"""Tells nobody: for what another command does on the way."""
