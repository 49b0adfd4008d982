"""The Redis of verify-failover: one server, three behind sentinels, or a Cluster; and what is done to each."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from archzero_lab.jobs.consistency.faults import Faults
from archzero_lab.servers.cluster_group import ClusterGroup
from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.servers.redis_node import RedisNode
from archzero_lab.servers.sentinel_group import SentinelGroup
from archzero_lab.servers.stack import Stack

MASTER_KILLED, MASTER_PAUSED = "Redis master killed", "Redis master paused, then there again"
MASTER_ALONE = "Redis master cut off, then there again"
SHARD_KILLED, SHARD_PAUSED = "a shard's master killed", "a shard's master paused, then there again"
SHARD_ALONE, SHARD_AWAY = "a shard's master cut off, then killed", "a shard away"


class HurtCache(Protocol):
    """A Redis that is hurt, by fault, and mended."""

    kinds: Sequence[str]

    @property
    def url(self) -> str:
        """For clients."""

    def commit(self, kind: str) -> None:
        """Hurt it, and return when it is whole again."""

    def close(self) -> None:
        """End it."""


class OneRedis:
    """A single server."""

    kinds: Sequence[str] = ("kill empty", "pause", "demoted", "flush")

    def __init__(self, stack: Stack, rng: random.Random) -> None:
        self._redis = HurtRedis(stack)
        self._faults = Faults(
            redis_url=self.url, redis_pid=lambda: self._redis.server.record.pid, restart=self._redis.restart,
            database_url="", items=[], change="", change_many="", rng=rng,
        )  # fmt: skip

    @property
    def url(self) -> str:
        """For clients."""
        return self._redis.server.url

    def commit(self, kind: str) -> None:
        """Hurt it, and undo what lasts."""
        self._faults.kinds, self._faults.deck = [kind], [kind]
        self._faults.one()

    def close(self) -> None:
        """End it."""
        self._redis.close()


class BehindSentinel:
    """A master that is lost in three ways; the sentinels promote another each time."""

    kinds: Sequence[str] = (MASTER_KILLED, MASTER_PAUSED, MASTER_ALONE)

    def __init__(self, stack: Stack, rng: random.Random) -> None:
        self._group, self._rng = SentinelGroup(stack), rng
        self.url = self._group.url

    def commit(self, kind: str) -> None:
        """Lose the master, and have it back as a follower. The one that was paused or cut off is there beside the new
        one for a while, takes writes, and its clients' connections stand."""
        master = self._group.master()
        if kind == MASTER_KILLED:
            master.kill()
            self._group.wait_for_another_than(master)
            self._group.restart(master)
        elif kind == MASTER_PAUSED:
            with master.silent():
                self._group.wait_for_another_than(master)
            self._leave_beside(master)
        else:
            self._group.cut_off(master)
            try:
                self._group.wait_for_another_than(master)
                self._leave_beside(master)
            finally:
                self._group.reach(master)
        self._group.wait_until_whole()

    def _leave_beside(self, master: RedisNode) -> None:
        time.sleep(self._rng.uniform(1.0, 2.5))  # the fault itself
        self._group.bring_back(master)

    def close(self) -> None:
        """End all."""
        self._group.close()


class InCluster:
    """One shard of three loses its master, or is away with its follower."""

    kinds: Sequence[str] = (SHARD_KILLED, SHARD_PAUSED, SHARD_ALONE, SHARD_AWAY)

    def __init__(self, stack: Stack, rng: random.Random) -> None:
        self._group, self._rng = ClusterGroup(stack), rng
        self.url = self._group.url

    def commit(self, kind: str) -> None:
        """Hurt a shard at random; what was ended is started again, and follows who leads by then."""
        master = self._rng.choice(self._group.masters())
        if kind == SHARD_AWAY:
            ended = [master, self._group.follower_of(master)]
            for node in ended:
                node.kill()
            time.sleep(self._rng.uniform(1.5, 3.0))  # the fault itself
            for node in ended:
                node.start()
        elif kind == SHARD_PAUSED:
            with master.silent():
                self._group.wait_for_another_than(master)
        else:
            if kind == SHARD_ALONE:
                self._group.cut_off(master)
                time.sleep(self._rng.uniform(0.5, 1.0))  # what is told meanwhile its follower does not hear
            master.kill()
            self._group.wait_for_another_than(master)
            master.start()
        self._group.wait_until_whole()

    def close(self) -> None:
        """End all."""
        self._group.close()


CACHES: Mapping[str, type[OneRedis | BehindSentinel | InCluster]] = {
    "single": OneRedis, "sentinel": BehindSentinel, "cluster": InCluster,
}  # fmt: skip
