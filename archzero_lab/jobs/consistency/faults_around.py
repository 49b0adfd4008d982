"""What verify-faults does around a service: its workers, servers, network, disk and clock hurt, clients that attack."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import LiteralString

import psutil
import psycopg

from archzero_lab.errors import MeasurementError, unknown_name
from archzero_lab.jobs.consistency import attacks
from archzero_lab.postgres.connection import connect
from archzero_lab.servers.hurt import HurtPostgres, HurtRedis, Relay
from archzero_lab.servers.small_disk import SmallDisk
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.endured import Endured, Endures, Wanted

BY_CLIENTS = (*attacks.NUMBERS, "large rows")
AROUND = (
    "worker killed", "worker stopped", "redis killed", "redis stopped", "redis swallowed", "postgres killed",
    "postgres stopped", "postgres swallowed", "disk full", "clock",
)  # fmt: skip
FAULTS = (*AROUND, *BY_CLIENTS)
_WORKERS = 4
_DEAR = 200
_BEGINS_S = 20.0
"""The longest that an attack may take to be under way."""
_FAKETIME = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")
_HOUR_S = 3_600


def choose_faults(names: Sequence[str]) -> list[str]:
    """The faults of these names, all for none; "none" alone is a soak. Raises UnknownNameError."""
    for name in names:
        if name not in (*FAULTS, "none"):
            raise unknown_name("fault", name, [*FAULTS, "none"])
    return [name for name in names if name != "none"] if names else list(FAULTS)


class Ground:
    """Servers of its own around a service of four workers, all of which can be hurt; a context manager.

    `left_out` says of each fault that cannot be done here why.
    """

    def __init__(self, stack: Stack, endures: Endures, without: Sequence[str], rng: random.Random) -> None:
        self._stack = stack
        self._endures = endures
        self._without = without
        self._rng = rng
        self._cleanup = ExitStack()
        self.left_out: dict[str, str] = {}
        self._attack: subprocess.Popen[str] | None = None
        self._holding: psycopg.Connection | None = None
        self._stopped: list[int] = []
        self._large = False

    def __enter__(self) -> Ground:
        with ExitStack() as made:
            self._folder = Path(made.enter_context(tempfile.TemporaryDirectory(prefix="archzero-faults-")))
            self._disk = SmallDisk.mounted()
            if self._disk is None:
                self.left_out["disk full"] = "no small disk can be mounted by this user"
            else:
                made.callback(self._disk.close)
            self._postgres = HurtPostgres(self._stack, self._disk.folder if self._disk else None)
            made.callback(self._postgres.close)
            self._redis = HurtRedis(self._stack)
            made.callback(self._redis.close)
            self._to_postgres = Relay(self._stack, self._postgres.server.url, "postgres")
            made.callback(self._to_postgres.close)
            self._to_redis = Relay(self._stack, self._redis.server.url, "redis")
            made.callback(self._to_redis.close)
            own = replace(
                self._stack, postgres_url=self._to_postgres.url, postgres_pid=self._postgres.server.record.pid,
                redis_url=self._to_redis.url, redis_pid=self._redis.server.record.pid,
            )  # fmt: skip
            wanted = Wanted(_WORKERS, self._without, self._faked_time())
            self.service: Endured = made.enter_context(self._endures.opened(own, wanted))
            made.callback(self.heal)
            self._write_attacks()
            self._cleanup = made.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._cleanup.close()

    def _faked_time(self) -> dict[str, str]:
        library = next((str(path) for glob in _FAKETIME for path in Path("/").glob(glob[1:])), None)
        if library is None:
            self.left_out["clock"] = "libfaketime is not installed (apt-get install faketime)"
            return {}
        self._clock = self._folder / "clock"
        self._clock.write_text("+0s\n")
        return {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(self._clock), "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_CACHE_DURATION": "1"}  # fmt: skip

    def _write_attacks(self) -> None:
        path, kind, body = self.service.large()
        file = self._folder / "large"
        file.write_bytes(body)
        self._told = json.dumps(
            {"dear": [self.service.dear(self._rng) for _ in range(_DEAR)], "large": [path, kind, str(file)],
             "locked": [self.service.bystander, json.dumps(self.service.change(1))]}
        )  # fmt: skip

    def workers(self) -> list[int]:
        """The worker processes that live, without multiprocessing's own helper."""
        pids = []
        with suppress(psutil.Error):
            for child in psutil.Process(self.service.pid).children():
                with suppress(psutil.Error):  # one that has just ended
                    if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(child.cmdline()):
                        pids.append(child.pid)
        return pids

    def _a_worker(self) -> int:
        """One of them; raises MeasurementError where for ten seconds there is none."""
        until = time.monotonic() + 10
        while not (pids := self.workers()):
            if time.monotonic() > until:
                raise MeasurementError("the service has no worker process any more; see .lab/logs/service-faults.log")
            time.sleep(0.05)  # polling: one that was killed is about to be replaced
        return self._rng.choice(pids)

    def connect(self) -> psycopg.Connection:
        """A connection past the relay."""
        return connect(self.direct(self.service.database_url))

    def direct(self, url: str) -> str:
        """A URL of the database, past the relay."""
        port = self._postgres.server.url.rpartition("@")[2].partition("/")[0]
        before, _, after = url.rpartition("@")
        return f"{before}@{port}/{after.partition('/')[2]}"

    def hurt(self, fault: str, seconds: float) -> None:
        """Begin a fault, which `heal` ends; it is wholly there when this returns, for so many seconds at least."""
        if fault in attacks.NUMBERS:
            if fault == "locked":
                self._holding = self.connect()
                self._holding.execute(self.service.lock)
            self._attack = subprocess.Popen(
                attacks.command(fault, self.service.url, _BEGINS_S + seconds),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert self._attack.stdin is not None
            assert self._attack.stdout is not None
            self._attack.stdin.write(self._told)
            self._attack.stdin.close()
            said, _, _ = select.select([self._attack.stdout], [], [], _BEGINS_S)
            if said and self._attack.stdout.readline().strip() != attacks.UNDER_WAY:
                raise MeasurementError(f"the attack '{fault}' ended before it was under way: nothing was tried")
            return
        begin: dict[str, Callable[[], None]] = {
            "worker killed": lambda: self._signal([self._a_worker()], signal.SIGKILL),
            "worker stopped": lambda: self._pause([self._a_worker()]),
            "redis killed": self._redis.kill,
            "redis stopped": lambda: self._pause([self._redis.server.record.pid]),
            "redis swallowed": lambda: self._to_redis.set(swallow=True),
            "postgres killed": self._postgres.kill,
            "postgres stopped": lambda: self._pause(self._postgres.processes()),
            "postgres swallowed": lambda: self._to_postgres.set(swallow=True),
            "disk full": lambda: self._disk.fill() if self._disk else None,
            "clock": lambda: self._set_clock(self._rng.choice([-_HOUR_S, _HOUR_S])),
            "large rows": lambda: self._run(self.service.enlarge),
        }
        begin[fault]()
        self._large = fault == "large rows"

    def heal(self) -> None:
        """End whatever was begun."""
        if self._attack is not None:
            self._attack.terminate()
            self._attack.wait(timeout=60)
            assert self._attack.stdout is not None
            self._attack.stdout.close()
            self._attack = None
        if self._holding is not None:
            self._holding.close()
            self._holding = None
        self._signal(self._stopped, signal.SIGCONT)
        self._stopped = []
        self._to_redis.set()
        self._to_postgres.set()
        if "clock" not in self.left_out:
            self._set_clock(0)
        if self._disk is not None:
            self._disk.empty()
        if not self._redis.is_up():
            self._redis.start()
        if not self._postgres.is_up():
            self._postgres.start()
        if self._large:
            self._run(self.service.shrink)
            self._large = False

    def _run(self, sql: LiteralString) -> None:
        with self.connect() as connection:
            connection.execute(sql)

    def _set_clock(self, offset_s: int) -> None:
        partial = self._clock.with_suffix(".partial")
        partial.write_text(f"{offset_s:+d}s\n")
        shutil.move(partial, self._clock)

    def _pause(self, pids: list[int]) -> None:
        self._stopped = pids
        self._signal(pids, signal.SIGSTOP)

    def _signal(self, pids: Sequence[int], number: signal.Signals) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
