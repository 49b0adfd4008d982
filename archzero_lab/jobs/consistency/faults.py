"""What is done to Redis and PostgreSQL while the harness runs: killed, paused, flushed, restarted, full, bypassed.

And a Redis that goes on answering reads and takes no writes: demoted, without replicas, without rights, with a disk
that refuses its snapshot, kept busy by a script.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis

from archzero_lab.errors import unknown_name
from archzero_lab.systems.histories import Write

SQL_SEEN_S = 2.0
_FILLED_S = 1.5
"""After the last fault, until validation is over and the hot set cached again."""
FAULTS = (
    "pause short",
    "pause",
    "kill empty",
    "kill old data",
    "flush",
    "clients killed",
    "memory full",
    "demoted",
    "demoted for good",
    "too few replicas",
    "rights taken",
    "snapshot refused",
    "busy",
    "sql",
    "sql",
    "sql of many",
)
_REFUSED_S = (1.5, 3.0)
"""How long writes are refused: over twice as long as a writer waits for licences to end (0.7 s; where the machine is
busy it waits anew), so that who believes on is seen.
"""


def choose_faults(names: Sequence[str]) -> Sequence[str]:
    """The faults of these names, all for none. Raises UnknownNameError."""
    for name in names:
        if name not in FAULTS:
            raise unknown_name("fault", name, list(dict.fromkeys(FAULTS)))
    return names or FAULTS


@dataclass
class Faults:
    """Faults on a Redis of our own, those of `kinds`. `restart(keep_data)` kills it (SIGKILL) and starts it again.

    `change` is plain SQL that writes one of `items` (%(item)s) and returns its version, `change_many` writes many
    others too. Each entry of `done` is (seconds since the start, what). `writes` are changes by plain SQL: nobody
    acknowledges them to a reader, so they count as acknowledged SQL_SEEN_S after their commit.
    """

    redis_url: str
    redis_pid: Callable[[], int]
    restart: Callable[[bool], None]
    database_url: str
    items: list[str]
    change: str
    change_many: str
    rng: random.Random
    kinds: Sequence[str] = FAULTS
    done: list[tuple[float, str]] = field(default_factory=list)
    deck: list[str] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def every_kind_done(self) -> bool:
        """Whether each fault has been committed once at least."""
        return {name for _, name in self.done} == set(self.kinds)

    def one(self) -> None:
        """Commit one fault and undo what lasts. Drawn from a shuffled deck: each comes once before any comes again."""
        if not self.deck:
            self.deck = self.rng.sample(self.kinds, len(self.kinds))
        self._commit(self.deck.pop())

    def last(self) -> None:
        """Change a row by plain SQL in a cache that is filled and left alone until the change must have been seen."""
        by_sql = [kind for kind in self.kinds if kind.startswith("sql")]
        if not by_sql:
            return
        time.sleep(_FILLED_S)
        self._commit(self.rng.choice(by_sql))
        time.sleep(SQL_SEEN_S * 1.25)  # undisturbed: whatever still holds the older version is read

    def _commit(self, name: str) -> None:
        self.done.append((round(time.monotonic() - self.began, 2), name))
        {
            "pause short": lambda: self._pause(self.rng.uniform(0.01, 0.08)),
            "pause": lambda: self._pause(self.rng.uniform(0.1, 1.0)),
            "kill empty": lambda: self.restart(False),
            "kill old data": self._old_data,
            "flush": lambda: self._tell(lambda client: client.flushall()),
            "clients killed": lambda: self._tell(lambda client: client.client_kill_filter(_type="normal", skipme=True)),
            "memory full": self._fill,
            "demoted": self._demote,
            "demoted for good": self._demote_for_good,
            "too few replicas": self._want_replicas,
            "rights taken": self._take_rights,
            "snapshot refused": self._refuse_snapshot,
            "busy": self._keep_busy,
            "sql": self._sql,
            "sql of many": self._sql_of_many,
        }[name]()

    def _pause(self, seconds: float) -> None:
        os.kill(self.redis_pid(), signal.SIGSTOP)
        time.sleep(seconds)  # the fault itself
        os.kill(self.redis_pid(), signal.SIGCONT)

    def _old_data(self) -> None:
        self._tell(lambda client: client.save())
        time.sleep(self.rng.uniform(0.05, 0.3))  # writes go on, and are not in what was saved
        self.restart(True)

    def _fill(self) -> None:
        def fill(client: Any) -> None:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1mb")

        self._tell(fill)
        time.sleep(self.rng.uniform(0.1, 0.5))  # the fault itself
        self._tell(lambda client: client.config_set("maxmemory", "256mb"))
        self._tell(lambda client: client.config_set("maxmemory-policy", "allkeys-lru"))

    def _refuse(self, begin: Callable[[Any], Any], end: Callable[[Any], Any]) -> None:
        self._tell(begin)
        try:
            time.sleep(self.rng.uniform(*_REFUSED_S))  # the fault itself
        finally:
            self._tell(end)

    def _demote(self) -> None:
        self._refuse(_demote, lambda client: client.slaveof())

    def _demote_for_good(self) -> None:
        """As after a failover whose old master stays what it became; then another takes its place."""
        self._tell(_demote)
        time.sleep(self.rng.uniform(*_REFUSED_S))  # the fault itself
        self.restart(False)

    def _want_replicas(self) -> None:
        self._refuse(
            lambda client: client.config_set("min-replicas-to-write", 3),
            lambda client: client.config_set("min-replicas-to-write", 0),
        )

    def _take_rights(self) -> None:
        self._refuse(
            lambda client: client.execute_command("ACL", "SETUSER", "default", "-@write", "+acl"),
            lambda client: client.execute_command("ACL", "SETUSER", "default", "+@all"),
        )

    def _refuse_snapshot(self) -> None:
        """A folder of the snapshot's name: no user, root neither, can write the file then."""

        def begin(client: Any) -> None:
            place = Path(client.config_get("dir")["dir"]) / "dump.rdb"
            place.unlink(missing_ok=True)
            place.mkdir()
            client.config_set("save", "3600 1")
            client.bgsave()
            _wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")

        def end(client: Any) -> None:
            client.config_set("save", "")
            place = Path(client.config_get("dir")["dir"]) / "dump.rdb"
            if place.is_dir():
                place.rmdir()

        self._refuse(begin, end)

    def _keep_busy(self) -> None:
        """A script that runs on: nothing is answered, then BUSY, which is no failed connection."""

        def run_on() -> None:
            client = redis.Redis.from_url(self.redis_url, socket_timeout=10)
            with suppress(redis.RedisError):
                client.eval("while true do end", 0)
            client.close()

        self._tell(lambda client: client.config_set("lua-time-limit", 20))
        script = threading.Thread(target=run_on)
        script.start()
        time.sleep(self.rng.uniform(*_REFUSED_S))  # the fault itself
        self._tell(lambda client: client.script_kill())
        script.join()

    def _sql(self) -> None:
        self._change_by_sql(self.change)

    def _sql_of_many(self) -> None:
        self._change_by_sql(self.change_many)

    def _change_by_sql(self, change: str) -> None:
        item = self.rng.choice(self.items)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            began = time.monotonic_ns()
            row = connection.execute(change.encode(), {"item": item}).fetchone()
        assert row is not None
        self.writes.append(Write(item, row[0], began, time.monotonic_ns() + int(SQL_SEEN_S * 1e9), external=True))

    def _tell(self, act: Callable[[Any], Any]) -> None:
        client = redis.Redis.from_url(self.redis_url, socket_timeout=5)
        try:
            act(client)
        except redis.RedisError:
            pass  # it may be killed while it is told: that is a fault too
        finally:
            client.close()


def _demote(client: Any) -> None:
    client.slaveof("127.0.0.1", 1)  # of a master that nobody reaches: it keeps its data and answers reads


def _wait_for(holds: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
