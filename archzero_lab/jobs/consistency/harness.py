"""verify-consistency: processes that read and write at random while Redis is hurt, and the check over their history."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archzero_lab.errors import MeasurementError, unknown_name
from archzero_lab.jobs.consistency.check import Verdict, check
from archzero_lab.jobs.consistency.faults import FAULTS, Faults
from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.servers.process import ProcessRecord, is_alive, tail
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.histories import Histories, Recorded, load

_PROCESSES = 3
_STARTED_S = 30.0


@dataclass
class ConsistencyResult:
    """What one round found. `faults` are (seconds, what)."""

    verdict: Verdict
    faults: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0


def verify_consistency(
    histories: Histories,
    stack: Stack,
    *,
    reads: int,
    seed: int = 1,
    without: tuple[str, ...] = (),
    near: bool = False,
    of: str | None = None,
    kinds: Sequence[str] = FAULTS,
    progress: Callable[[float], None] = lambda share: None,
) -> ConsistencyResult:
    """One round: `reads` reads over several processes under faults, then the check.

    `near` reads through the near cache, whose staleness is measured and not a violation. `of` checks another cache
    library in our place. Of the faults those of `kinds` are committed, each once at least. Raises UnknownNameError for
    a guard or library that is not known, MeasurementError for a process that died.
    """
    if of is not None and of not in histories.libraries:
        raise unknown_name("cache", of, list(histories.libraries))
    for guard in without:
        if guard not in histories.guards:
            raise unknown_name("guard", guard, list(histories.guards))
    hurt_redis = HurtRedis(stack)
    folder = Path(tempfile.mkdtemp(prefix="archzero-consistency-"))
    began = time.monotonic()
    try:
        with histories.opened(stack, hurt_redis.server.url, seed, near=near) as recorded:
            faults = Faults(
                redis_url=hurt_redis.server.url,
                redis_pid=lambda: hurt_redis.server.record.pid,
                restart=hurt_redis.restart,
                database_url=recorded.database_url,
                items=list(recorded.by_sql),
                change=recorded.change,
                change_many=recorded.change_many,
                rng=random.Random(f"faults {seed}"),
                kinds=kinds,
            )
            round_ = _Round(stack, folder, recorded, reads, without, of)
            outs = round_.run(faults, progress)
        writes, recorded_reads = load(outs)
        verdict = check([*writes, *faults.writes], recorded_reads, strict=not near)
        return ConsistencyResult(verdict, faults.done, time.monotonic() - began)
    finally:
        hurt_redis.close()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Round:
    """The processes of one round, and the files by which they tell and are told."""

    stack: Stack
    folder: Path
    recorded: Recorded
    reads: int
    without: tuple[str, ...]
    of: str | None

    def run(self, faults: Faults, progress: Callable[[float], None]) -> list[Path]:
        """Start them, commit faults until each kind was met and each share is read, end them; their histories."""
        numbers = range(_PROCESSES)
        processes = [self._start(number) for number in numbers]
        try:
            self._wait_until_they_read(processes)
            began = time.monotonic()
            limit_s = 120 + self.reads / 500

            def running() -> list[bool]:
                late = time.monotonic() - began > limit_s
                return [not late and is_alive(process) for process in processes]

            done = [self._file("done", number) for number in numbers]
            while all(running()) and not (faults.every_kind_done and all(path.exists() for path in done)):
                faults.one()
                time.sleep(faults.rng.uniform(0.05, 0.4))  # the processes work undisturbed for a while
                progress(1 - 1 / (1 + (time.monotonic() - began) / max(5.0, self.reads / 6_000)))
            if all(running()):
                faults.last()
            (self.folder / "may-end").touch()
            while any(running()):
                time.sleep(0.05)
        finally:
            (self.folder / "stop").touch()
            for process in processes:
                self.stack.registry.stop(process, grace_s=30)
        for number in numbers:
            if not self._file("out", number).exists():
                raise MeasurementError(f"process {number} of the harness died: {tail(self._file('log', number), 2)}")
        return [self._file("out", number) for number in numbers]

    def _wait_until_they_read(self, processes: list[ProcessRecord]) -> None:
        """A fault before the first read would be none."""
        deadline = time.monotonic() + _STARTED_S
        begun = [self._file("begun", number) for number in range(_PROCESSES)]
        while not all(path.exists() for path in begun) and time.monotonic() < deadline:
            if not all(is_alive(process) for process in processes):
                return  # told below, with its log
            time.sleep(0.02)

    def _start(self, number: int) -> ProcessRecord:
        job = self.recorded.job(number, self.without, self.of) | {
            "reads": self.reads // _PROCESSES,
            "out": str(self._file("out", number)),
            "begun": str(self._file("begun", number)),
            "done": str(self._file("done", number)),
            "may_end": str(self.folder / "may-end"),
            "stop": str(self.folder / "stop"),
        }
        path = self._file("job", number)
        path.touch(mode=0o600)
        path.write_text(json.dumps(job))
        return self.stack.registry.spawn(
            f"consistency-{number}", self.recorded.command(path), log=self._file("log", number), env=dict(os.environ)
        )

    def _file(self, what: str, number: int) -> Path:
        return self.folder / f"{what}-{number}"
