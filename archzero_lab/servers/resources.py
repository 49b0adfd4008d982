"""CPU and memory of the processes beside a load, once a second: service, PostgreSQL, Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import pandas as pd
import psutil


class Sampler:
    """Samples process families (a pid and its descendants) in a thread while its block runs; `rows` grows meanwhile."""

    def __init__(self, families: Mapping[str, int], period_s: float = 1.0) -> None:
        self._families = dict(families)
        self._period_s = period_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._before: dict[str, tuple[float, float]] = {}
        self.rows: list[dict[str, float | str]] = []

    def __enter__(self) -> Sampler:
        self._sample(keep=False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def frame(self) -> pd.DataFrame:
        """A row a second and process: at (Unix time), process, cpu_percent (of one core), rss_bytes."""
        return pd.DataFrame(self.rows, columns=["at", "process", "cpu_percent", "rss_bytes"])

    def _run(self) -> None:
        while not self._over.wait(self._period_s):
            self._sample(keep=True)

    def _sample(self, *, keep: bool) -> None:
        for name, pid in self._families.items():
            at, busy_s, resident = time.time(), 0.0, 0
            shared = 0
            for process in _family(pid):
                try:
                    times, memory = process.cpu_times(), process.memory_info()
                except psutil.Error:
                    continue  # it ended just now
                busy_s += times.user + times.system
                # PostgreSQL's processes map the same shared buffers: counted once
                own_share = int(getattr(memory, "shared", 0))
                shared = max(shared, own_share)
                resident += memory.rss - own_share
            if keep and name in self._before:
                then, before_s = self._before[name]
                # a process that ended took its time with it: less than before is no negative use
                percent = max(busy_s - before_s, 0.0) / max(at - then, 1e-3) * 100
                self.rows.append({"at": at, "process": name, "cpu_percent": percent, "rss_bytes": resident + shared})
            self._before[name] = (at, busy_s)


def _family(pid: int) -> list[psutil.Process]:
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return []
