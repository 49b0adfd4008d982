"""The processes of verify-failover, and the files by which they tell and are told."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from archzero_lab.errors import MeasurementError
from archzero_lab.servers.process import ProcessRecord, is_alive, tail
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.failovers import Operations, Replicated

PROCESSES = 3
_STARTED_S, _WRITTEN_S = 30.0, 300.0


class Processes:
    """The system's processes, and the files by which they tell and are told."""

    def __init__(self, stack: Stack, folder: Path, work: Replicated, without: tuple[str, ...]) -> None:
        self._stack, self._folder, self._work, self._without = stack, folder, work, without
        self._records: list[ProcessRecord] = []

    def start(self) -> None:
        """Start them, and wait until they work. Raises MeasurementError."""
        for number in range(PROCESSES):
            job = self._work.job(number, self._without) | {
                "out": str(self._file("out", number)),
                "begun": str(self._file("begun", number)),
                "stop": str(self._folder / "stop"),
            }
            path = self._file("job", number)
            path.touch(mode=0o600)
            path.write_text(json.dumps(job))
            self._records.append(
                self._stack.registry.spawn(
                    f"failover-{number}", self._work.command(path), log=self._file("log", number), env=dict(os.environ)
                )
            )
        deadline = time.monotonic() + _STARTED_S
        while not all(self._file("begun", number).exists() for number in range(PROCESSES)):
            if not self.work() or time.monotonic() > deadline:
                raise MeasurementError(f"the processes did not start: {tail(self._file('log', 0), 2)}")
            time.sleep(0.02)  # polling until they say so

    def work(self) -> bool:
        """Whether all of them live."""
        return all(is_alive(record) for record in self._records)

    def stop_one(self, number: int) -> None:
        """SIGSTOP: it knows nothing of what happens meanwhile."""
        with suppress(ProcessLookupError):
            os.kill(self._records[number].pid, signal.SIGSTOP)

    def go_on(self, number: int) -> None:
        """SIGCONT."""
        with suppress(ProcessLookupError):
            os.kill(self._records[number].pid, signal.SIGCONT)

    def stop(self) -> Operations:
        """Let them end; what they did. Raises MeasurementError for one that died."""
        (self._folder / "stop").touch()
        deadline = time.monotonic() + _WRITTEN_S
        for number in range(PROCESSES):
            while not self._file("out", number).exists():
                if not is_alive(self._records[number]) or time.monotonic() > deadline:
                    raise MeasurementError(f"process {number} died: {self._why(number)}")
                time.sleep(0.05)  # polling until they have written it down
        return Operations.load(self._file("out", number) for number in range(PROCESSES))

    def _why(self, number: int) -> str:
        """What its log says, and by which signal it ended where one ended it."""
        with suppress(ChildProcessError):
            _, status = os.waitpid(self._records[number].pid, os.WNOHANG)
            if os.WIFSIGNALED(status):
                return f"{signal.Signals(os.WTERMSIG(status)).name}; {tail(self._file('log', number), 12)}"
        return tail(self._file("log", number), 12)

    def end(self) -> None:
        """End them, whatever they do."""
        for record in self._records:
            self._stack.registry.stop(record, grace_s=5)

    def _file(self, what: str, number: int) -> Path:
        return self._folder / f"{what}-{number}"
