"""Degradation: the service read without a pause while Redis and PostgreSQL of its own are taken away and given back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
import pandas as pd

from archzero_lab.errors import MeasurementError
from archzero_lab.progress import QUIET
from archzero_lab.servers.hurt import HurtPostgres, HurtRedis, Relay
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arms import Arm, Opening
from archzero_lab.systems.driver import Driver
from archzero_lab.systems.system import Rows, System

AWAY = ("Redis dead", "Redis hung", "Redis slow, +100 ms", "Redis blackholed", "PostgreSQL away")
_ROWS = 10_000
_HOT = 50
_PAUSES_S = {"cached": 0.002, "cold": 0.012, "uncached": 0.002, "uncached cold": 0.012}
_POLL_S = 0.05
_OPENED_S = 0.5
"""After the begin of a fault the breaker is open: three time-outs of 50 ms, and room for a busy machine."""
_STEADY_HITS = 0.9

READERS = {
    "cached": "what Redis holds",
    "cold": "what nobody has read before",
    "uncached": "the service without a cache",
    "uncached cold": "the same, what nobody has read before",
}


@dataclass(frozen=True)
class Phase:
    """A span of the time line in seconds from its start; `fault` None is Redis and PostgreSQL in order."""

    began_s: float
    ended_s: float
    fault: str | None


@dataclass(frozen=True)
class Degradation:
    """What was seen. `reads`: a row a read (t_s, reader, ms, status, retry_after); `hits`: hit rate each 50 ms."""

    phases: list[Phase]
    reads: pd.DataFrame
    hits: pd.DataFrame

    def by_phase(self) -> pd.DataFrame:
        """A row a phase with a fault.

        `p99_ms` of cached reads once the breaker is open and `p99_uncached_ms` of the same seconds, their `ratio`;
        `worst_first_ms` of cached reads before it opened; failed reads by reader; `back_s` until Redis was used again
        as before, after it was given back.
        """
        rows = []
        for index, phase in enumerate(self.phases):
            if phase.fault is None:
                continue
            at = self.reads["t_s"]
            inside = self.reads[(at >= phase.began_s) & (at < phase.ended_s)]
            opened = inside[inside["t_s"] >= phase.began_s + _OPENED_S]
            first = inside[(inside["t_s"] < phase.began_s + _OPENED_S) & (inside["reader"] == "cached")]
            p99 = {reader: _p99(opened, reader) for reader in READERS}
            failed = inside[inside["status"] != 200].groupby("reader").size()
            rows.append(
                {
                    "fault": phase.fault,
                    "cached_reads": int((inside["reader"] == "cached").sum()),
                    "cached_failed": int(failed.get("cached", 0)),
                    "cold_reads": int((inside["reader"] == "cold").sum()),
                    "cold_failed": int(failed.get("cold", 0)),
                    "p99_ms": p99["cached"],
                    "p99_uncached_ms": p99["uncached"],
                    "ratio": round(p99["cached"] / p99["uncached"], 2),
                    "worst_first_ms": round(float(first["ms"].max()), 1) if len(first) else float("nan"),
                    "back_s": self._back_s(phase, self.phases[index + 1]) if "Redis" in phase.fault else float("nan"),
                }
            )
        return pd.DataFrame(rows).set_index("fault")

    def ratio_while_redis_is_away(self) -> float:
        """p99 of cached reads over that of uncached ones, all seconds of an open breaker taken together."""
        at = self.reads["t_s"]
        spans = [p for p in self.phases if p.fault and p.fault.startswith("Redis")]
        opened = self.reads[np.any([(at >= p.began_s + _OPENED_S) & (at < p.ended_s) for p in spans], axis=0)]
        return round(_p99(opened, "cached") / _p99(opened, "uncached"), 3)

    def refusals(self) -> pd.DataFrame:
        """Reads answered 503 while PostgreSQL was away: how many, how fast, how many with Retry-After."""
        refused = self.reads[self.reads["status"] == 503]
        return pd.DataFrame(
            {
                reader: {
                    "refused": len(group),
                    "p50_ms": round(float(group["ms"].median()), 2),
                    "p99_ms": round(float(group["ms"].quantile(0.99)), 2),
                    "with_retry_after": int(group["retry_after"].sum()),
                }
                for reader, group in refused.groupby("reader")
            }
        ).T

    def _back_s(self, phase: Phase, after: Phase) -> float:
        at = self.hits["t_s"]
        steady = self.hits[(at >= phase.ended_s) & (at < after.ended_s) & (self.hits["hit_rate"] >= _STEADY_HITS)]
        return round(float(steady["t_s"].iloc[0]) - phase.ended_s, 2) if len(steady) else float("inf")


def _p99(reads: pd.DataFrame, reader: str) -> float:
    times = reads[reads["reader"] == reader]["ms"]
    return round(float(times.quantile(0.99)), 3) if len(times) else float("nan")


def measure_degradation(
    system: System, stack: Stack, *, phase_s: float = 4.0, progress: Callable[[float], None] = lambda share: None
) -> Degradation:
    """Take Redis away in four ways, then PostgreSQL, each for `phase_s` with as long in order after it.

    Both servers are of this experiment's own, on loopback, and gone after it. Raises MeasurementError where a service
    does not answer at all.
    """
    with ExitStack() as cleanup:
        postgres = HurtPostgres(stack)
        cleanup.callback(postgres.close)
        redis = HurtRedis(stack)
        cleanup.callback(redis.close)
        relay = Relay(stack, redis.server.url, "redis")
        cleanup.callback(relay.close)
        own = replace(
            stack, postgres_url=postgres.server.url, postgres_pid=postgres.server.record.pid, redis_url=relay.url
        )
        arms = {"cached": system.self_check_arms["Redis"], "uncached": system.self_check_arms["PostgreSQL"]}
        made = system.prepare(own, Rows(_ROWS), "degradation", list(arms.values()), QUIET)
        prepared = cleanup.enter_context(made)
        opened = cleanup.enter_context(prepared.arms(*(Opening(arm, name) for name, arm in arms.items())))
        reading = _Reading(opened, prepared.items())
        cleanup.callback(reading.stop)
        reading.start()
        return _time_line(reading, postgres, redis, relay, phase_s, progress)


def _time_line(
    reading: _Reading,
    postgres: HurtPostgres,
    redis: HurtRedis,
    relay: Relay,
    phase_s: float,
    progress: Callable[[float], None],
) -> Degradation:
    take: dict[str, Callable[[], None]] = {
        "Redis dead": redis.kill,
        "Redis hung": lambda: os.kill(redis.server.record.pid, signal.SIGSTOP),
        "Redis slow, +100 ms": lambda: relay.set(delay_ms=100),
        "Redis blackholed": lambda: relay.set(swallow=True),
        "PostgreSQL away": postgres.stop,
    }
    give_back = {
        "Redis dead": lambda: redis.start(),
        "Redis hung": lambda: os.kill(redis.server.record.pid, signal.SIGCONT),
        "PostgreSQL away": postgres.start,
    }
    phases: list[Phase] = []
    began = reading.seconds()
    time.sleep(phase_s)
    for number, fault in enumerate(AWAY):
        phases.append(Phase(began, reading.seconds(), None))
        began = reading.seconds()
        take[fault]()
        time.sleep(phase_s)  # the fault itself
        give_back.get(fault, relay.set)()
        phases.append(Phase(began, reading.seconds(), fault))
        began = reading.seconds()
        time.sleep(phase_s)  # in order again
        progress((number + 1) / len(AWAY))
    phases.append(Phase(began, reading.seconds(), None))
    reading.stop()
    return Degradation(phases, reading.reads(), reading.hits())


class _Reading:
    """Three readers and a look at the cache's counters, each a thread, until stopped."""

    def __init__(self, arms: dict[str, Arm], items: list[str]) -> None:
        hot, cold = items[:_HOT], iter(items[_HOT:])
        paths: dict[str, Iterator[str]] = {
            "cached": cycle(hot),
            "cold": cold,
            "uncached": cycle(hot),
            "uncached cold": iter(items[_HOT:]),  # the two services do the same work
        }
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._done = dict.fromkeys(READERS, 0)
        self._rows: list[tuple[float, str, float, int, bool]] = []
        self._hits: list[tuple[float, float]] = []
        self._threads = [
            threading.Thread(
                target=self._read,
                args=(reader, arms["uncached" if "uncached" in reader else "cached"].url, path),
                daemon=True,
            )
            for reader, path in paths.items()
        ]
        self._threads.append(threading.Thread(target=self._count, args=(arms["cached"],), daemon=True))

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all readers; what they have read stays."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(60)

    def seconds(self) -> float:
        """The time line's clock."""
        return time.monotonic() - self._began

    def reads(self) -> pd.DataFrame:
        """All reads."""
        return pd.DataFrame(self._rows, columns=["t_s", "reader", "ms", "status", "retry_after"])

    def hits(self) -> pd.DataFrame:
        """The hit rate of the hot cards, by time."""
        return pd.DataFrame(self._hits, columns=["t_s", "hit_rate"])

    def _read(self, reader: str, url: str, paths: Iterator[str]) -> None:
        driver = Driver(url, timeout_s=60)
        while not self._stopping.is_set():
            began = self.seconds()
            try:
                elapsed_s, status, _ = driver.get(next(paths))
                retry_after = b"\r\nretry-after:" in driver.head
            except StopIteration:
                break
            except MeasurementError:
                elapsed_s, status, retry_after = self.seconds() - began, 0, False
            self._rows.append((began, reader, elapsed_s * 1000, status, retry_after))
            self._done[reader] += 1
            time.sleep(_PAUSES_S[reader])  # the reader's own pause: the measuring must not saturate the machine
        driver.close()

    def _count(self, arm: Arm) -> None:
        """Of the hot items' reads, how many were hits: every hit is one of theirs, for no cold item comes twice."""
        hits, reads = 0, 0
        while not self._stopping.wait(_POLL_S):
            now, done = self.seconds(), self._done["cached"]
            total, _ = arm.cache_counts()
            if done > reads:
                self._hits.append((now, min(1.0, (total - hits) / (done - reads))))
                hits, reads = total, done
