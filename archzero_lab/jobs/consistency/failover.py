"""verify-failover: processes that write and read while the database changes hands and Redis is hurt; the check."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import pandas as pd
import psycopg

from archzero_lab.errors import LabError, MeasurementError, unknown_name
from archzero_lab.jobs.consistency.failover_check import FailoverVerdict, check_failovers, longest_gaps_s
from archzero_lab.jobs.consistency.failover_line import line_of
from archzero_lab.jobs.consistency.failover_looks import Look, Looks
from archzero_lab.jobs.consistency.failover_processes import PROCESSES, Processes
from archzero_lab.jobs.consistency.failover_redis import CACHES, HurtCache
from archzero_lab.servers.failover import FailoverCluster, Watcher
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.failovers import Failovers, Replicated

PRIMARY_KILLED, PRIMARY_STOPPED, LATE = "primary killed", "primary stopped, then there again", "replay paused"
FOLLOWER_KILLED, LAG = "follower killed", "replay 300 ms late"
ALONE = "followers cut off, then the primary killed"
OF_POSTGRES = (PRIMARY_KILLED, PRIMARY_STOPPED, ALONE, LATE, FOLLOWER_KILLED, LAG)
_FOLLOWS_S, _PROMOTED_S = 60.0, 60.0
_ALONE_S = 2.5
_AFTER_S = 5.0
_ZOMBIE_S = 2.0
"""How long a primary that was stopped works on beside the one that was promoted in its place, until it is ended."""


@dataclass
class FailoverResult:
    """`faults`: what, and when (monotonic ns); `no_writes_s` and `no_reads_s`: the longest gaps, a fault each."""

    verdict: FailoverVerdict
    faults: list[tuple[int, str]] = field(default_factory=list)
    promotions: int = 0
    no_writes_s: list[float] = field(default_factory=list)
    no_reads_s: list[float] = field(default_factory=list)
    failed_reads: int = 0
    failed_writes: int = 0
    seconds: float = 0.0
    works: bool = True
    """Whether it was written and read after the last fault."""
    began_ns: int = 0
    looks: list[Look] = field(default_factory=list)
    line: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What was acknowledged, read and refused over time (`failover_line`), from `began_ns` on."""

    def gaps_of(self, kind: str) -> tuple[list[float], list[float]]:
        """The gaps without writes and without reads of all faults of a kind."""
        of = [number for number, (_, what) in enumerate(self.faults) if what == kind]
        return [self.no_writes_s[number] for number in of], [self.no_reads_s[number] for number in of]

    def by_fault(self) -> list[dict[str, str | float]]:
        """A row a kind of fault: how often, and the seconds without a write and without a read, median and worst."""
        rows: list[dict[str, str | float]] = []
        for kind in sorted({what for _, what in self.faults}):
            writes, reads = self.gaps_of(kind)
            rows.append({
                "fault": kind, "times": len(writes), "s without a write": round(median(writes), 2),
                "worst write": round(max(writes), 2), "s without a read": round(median(reads), 2),
                "worst read": round(max(reads), 2),
            })  # fmt: skip
        return rows


def verify_failover(
    failovers: Failovers,
    stack: Stack,
    *,
    minutes: float,
    seed: int = 1,
    without: tuple[str, ...] = (),
    of: str | None = None,
    kinds: Sequence[str] = (),
    synchronous: bool = True,
    redis: str = "single",
    progress: Callable[[float], None] = lambda share: None,
) -> FailoverResult:
    """Work for so long under faults, each kind once at least, then check.

    `redis`: a single server, a master behind `sentinel`, or a `cluster`. Raises UnknownNameError, MeasurementError.
    """
    for guard in without:
        if guard not in failovers.guards:
            raise unknown_name("guard", guard, list(failovers.guards))
    if of is not None and of not in failovers.libraries:
        raise unknown_name("way to choose a replica", of, list(failovers.libraries))
    if redis not in CACHES:
        raise unknown_name("kind of Redis", redis, list(CACHES))
    faults = (*OF_POSTGRES, *CACHES[redis].kinds)
    for kind in kinds:
        if kind not in faults:
            raise unknown_name("fault", kind, list(faults))
    began = time.monotonic()
    with ExitStack() as closing:
        rng = random.Random(f"failover {seed}")
        cache = CACHES[redis](stack, rng)
        closing.callback(cache.close)
        cluster = FailoverCluster(stack.postgres_programs, stack.registry, synchronous=synchronous)
        closing.callback(cluster.close)
        folder = Path(tempfile.mkdtemp(prefix="archzero-failover-"))
        closing.callback(shutil.rmtree, folder, ignore_errors=True)
        work = closing.enter_context(failovers.opened(stack, cluster, cache.url, seed, of))
        processes = Processes(stack, folder, work, without)
        closing.callback(processes.end)
        hurting = _Hurting(cluster, cache, processes, work, rng, list(kinds or faults))
        closing.callback(hurting.watcher.close)
        looks = Looks({name: partial(cluster.url_of, name) for name in cluster.servers})
        closing.callback(looks.close)
        processes.start()
        hurting.watcher.start()
        looks.start()
        began_ns = time.monotonic_ns()
        until = time.monotonic() + minutes * 60
        while (time.monotonic() < until or not hurting.every_kind_done) and processes.work():
            hurting.one()
            progress(min(0.99, 1 - (until - time.monotonic()) / (minutes * 60)))
        hurting.watcher.close()
        whole_ns = time.monotonic_ns()
        time.sleep(_AFTER_S)  # then it must work again
        over_ns = time.monotonic_ns()
        done, seen = processes.stop(), looks.close()
        lineage = work.lineage(cluster.servers[cluster.primary].url)
        verdict = check_failovers(done, lineage, hurting.promoted_ns, hurting.left_behind)
    written = [write.ended_ns for write in done.writes if write.version]
    read = [one.ended_ns for one in done.reads]
    at = [when for when, _ in hurting.done]
    return FailoverResult(
        verdict, hurting.done, len(hurting.promoted_ns),
        longest_gaps_s(written, at, over_ns), longest_gaps_s(read, at, over_ns),
        sum(what == "read" for _, _, what in done.failed), sum(what == "write" for _, _, what in done.failed),
        time.monotonic() - began, works=all(max(ends, default=0) > whole_ns for ends in (written, read)),
        began_ns=began_ns, looks=seen, line=line_of(done, began_ns, over_ns),
    )  # fmt: skip


class _Hurting:
    """Commits one fault after the other; each leaves a whole cluster behind."""

    def __init__(
        self, cluster: FailoverCluster, cache: HurtCache, processes: Processes, work: Replicated, rng: random.Random,
        kinds: Sequence[str],
    ) -> None:  # fmt: skip
        self._cluster, self._cache, self._processes = cluster, cache, processes
        self._work, self._rng, self._kinds = work, rng, kinds
        self.left_behind: dict[str, int] = {}
        self.done: list[tuple[int, str]] = []
        self.promoted_ns: list[int] = []
        self.watcher = Watcher(cluster, on_promoted=self._promoted)
        self._deck: list[str] = []

    @property
    def every_kind_done(self) -> bool:
        """Whether each has been committed once."""
        return {what for _, what in self.done} == set(self._kinds)

    def one(self) -> None:
        """Commit one, wait until all is whole again, and a moment longer."""
        if not self._deck:
            self._deck = self._rng.sample(self._kinds, len(self._kinds))
        what = self._deck.pop()
        self.done.append((time.monotonic_ns(), what))
        if what in self._cache.kinds:
            self._cache.commit(what)
        elif what == PRIMARY_KILLED:
            self._lose_primary(self._cluster.kill)
        elif what == PRIMARY_STOPPED:
            self._leave_behind()
        elif what == ALONE:
            self._end_alone()
        else:
            self._hurt_follower(what)
        self._wait_until_whole()
        time.sleep(self._rng.uniform(0.5, 1.5))  # all works undisturbed for a while

    def _promoted(self, name: str, at_s: float) -> None:
        self.promoted_ns.append(int(at_s * 1e9))

    def _lose_primary(self, act: Callable[[str], None]) -> str:
        """Let the watcher promote another; the name of who led before."""
        before, promotions = self._cluster.primary, len(self.promoted_ns)
        act(before)
        deadline = time.monotonic() + _PROMOTED_S
        while len(self.promoted_ns) == promotions:
            if time.monotonic() > deadline:
                raise MeasurementError(f"nobody was promoted within {_PROMOTED_S:.0f} s of the end of {before}")
            time.sleep(0.02)  # polling: the watcher is a thread of its own
        with self.watcher.aside():
            if act != self._cluster.stop:
                self._cluster.rejoin(before)
        return before

    def _leave_behind(self) -> None:
        """The old primary takes writes for a moment beside the new one; a process that slept still follows it."""
        self.watcher.fence = False
        sleeper = self._rng.randrange(PROCESSES)
        try:
            self._processes.stop_one(sleeper)
            before = self._lose_primary(self._cluster.stop)
            self.watcher.fence = True
            self._cluster.go_on(before)
            self._processes.go_on(sleeper)
            time.sleep(_ZOMBIE_S)  # the fault itself
            with self.watcher.aside():
                has = {mark for _, _, mark in self._work.lineage(self._cluster.servers[before].url)}
                has -= {mark for _, _, mark in self._work.lineage(self._cluster.servers[self._cluster.primary].url)}
                self.left_behind |= dict.fromkeys(has, self.promoted_ns[-1])
                self._cluster.rejoin(before)
        finally:
            self._processes.go_on(sleeper)
            self.watcher.fence = True

    def _end_alone(self) -> None:
        """What the primary commits meanwhile no follower has; it is visible once its wait for one is cancelled."""
        with self.watcher.aside():
            for name in self._cluster.followers:
                self._cluster.cut_off(name)
            until = time.monotonic() + _ALONE_S
            while time.monotonic() < until:  # the fault itself
                time.sleep(0.1)
                with suppress(LabError, psycopg.Error):
                    self._cluster.cancel_waiting()
            self._cluster.kill(self._cluster.primary)
        self._lose_primary(lambda name: None)

    def _hurt_follower(self, what: str) -> None:
        name = self._rng.choice(self._cluster.followers)
        with self.watcher.aside():
            if what == FOLLOWER_KILLED:
                self._cluster.kill(name)
                self._cluster.rejoin(name)
                return
        with suppress(psycopg.Error), psycopg.connect(self._cluster.servers[name].url, autocommit=True) as connection:
            if what == LATE:
                connection.execute("SELECT pg_wal_replay_pause()")
                time.sleep(self._rng.uniform(0.5, 2.0))  # the fault itself
                connection.execute("SELECT pg_wal_replay_resume()")
            else:
                connection.execute("ALTER SYSTEM SET recovery_min_apply_delay = '300ms'")
                connection.execute("SELECT pg_reload_conf()")
                time.sleep(self._rng.uniform(1.0, 2.0))  # the fault itself
                connection.execute("ALTER SYSTEM RESET recovery_min_apply_delay")
                connection.execute("SELECT pg_reload_conf()")

    def _wait_until_whole(self) -> None:
        """Return when every follower streams: either may be the next, and must have what was acknowledged."""
        deadline = time.monotonic() + _FOLLOWS_S
        wanted = len(self._cluster.servers) - 1
        while time.monotonic() < deadline:
            with self.watcher.aside():
                for name in self._cluster.dead:
                    self._cluster.rejoin(name)
            with suppress(psycopg.Error):
                url = self._cluster.servers[self._cluster.primary].url
                with psycopg.connect(url, connect_timeout=2, autocommit=True) as connection:
                    row = connection.execute(
                        "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
                        " AND pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn) < 1e6"
                    ).fetchone()
                if row is not None and row[0] >= wanted:
                    return
            time.sleep(0.05)  # polling until they stream
        raise MeasurementError(f"the followers did not stream within {_FOLLOWS_S:.0f} s")
