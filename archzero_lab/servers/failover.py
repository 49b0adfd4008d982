"""A primary and its followers that change roles, for experiments: one dies or stops, another is promoted."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg import sql

from archzero_lab.errors import LabError, ServerError
from archzero_lab.postgres.connection import connect
from archzero_lab.servers.postgres_server import PostgresServer, start_postgres
from archzero_lab.servers.private_files import open_to_all
from archzero_lab.servers.process import ProcessRegistry, is_alive
from archzero_lab.servers.replicas import SMALL, Replicated, follow
from archzero_lab.servers.server_home import server_home
from archzero_lab.settings import STATE

_PROMOTED_S = 30
_LOOK_S, _ANSWER_S, _FAILED = 0.1, 0.5, 3
"""How often the watcher looks, how long it waits, and after how many failures in a row the primary counts as dead."""


class FailoverCluster:
    """Servers `a`, `b`, `c`, …, each on its port for good; `primary` is the name of the one that takes writes.

    With `synchronous` a commit waits until one follower has it (synchronous_standby_names = 'ANY 1 …'); its
    promotion then needs every other follower's word, since either may be the one.
    """

    def __init__(
        self, programs: Path, registry: ProcessRegistry, followers: int = 2, *, synchronous: bool = True
    ) -> None:
        self._programs, self._registry = programs, registry
        self._home = open_to_all(server_home(STATE) / f"failover-{uuid.uuid4().hex[:8]}")
        self.primary = "a"
        self.servers: dict[str, PostgresServer] = {}
        try:
            self.servers["a"] = start_postgres(programs, self._home, registry, name="a", pinned=SMALL)
            for number in range(followers):
                name = chr(ord("b") + number)
                self.servers[name] = follow(programs, self._home, registry, self.servers["a"].url, name, pinned=SMALL)
            if synchronous:
                for name in self.servers:
                    # by the name that followers have: a base backup's own reader is none
                    self._set(name, "synchronous_standby_names", "ANY 1 (walreceiver)")
        except BaseException:
            self.close()
            raise

    @property
    def followers(self) -> list[str]:
        """Those that run and do not take writes."""
        return [name for name, one in self.servers.items() if name != self.primary and is_alive(one.record)]

    @property
    def dead(self) -> list[str]:
        """Those that do not run."""
        return [name for name, one in self.servers.items() if not is_alive(one.record)]

    def url_of(self, name: str, database: str = "postgres") -> str:
        """The URL of a database on one of the servers."""
        return urlsplit(self.servers[name].url)._replace(path=f"/{database}").geturl()

    def kill(self, name: str) -> None:
        """SIGKILL to all of its processes, stopped ones too."""
        for pid in self._processes(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._registry.stop(self.servers[name].record)

    def stop(self, name: str) -> None:
        """SIGSTOP: it says nothing any more, and knows nothing of what happens meanwhile."""
        self._signal(name, signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """SIGCONT."""
        self._signal(name, signal.SIGCONT)

    def promote(self, *, tell: Callable[[str], None] = lambda name: None) -> str:
        """The follower that has received most takes writes from now on, the others follow it; its name.

        None of them hears of the old primary any more before that is looked at, and each must answer: either may be
        the only one that has an acknowledged write. `tell` is called as soon as it is done. Raises LabError.
        """
        followers = self.followers
        for name in followers:
            self.cut_off(name)
        received = {name: self._received(name) for name in followers}
        if not received:
            raise ServerError("no follower is there to be promoted")
        chosen, before = max(received, key=lambda name: received[name]), self.primary
        with connect(self.servers[chosen].url, autocommit=True) as connection:
            if connection.execute("SELECT pg_promote(true, %s)", [_PROMOTED_S]).fetchone() != (True,):
                raise ServerError(f"{chosen} was not promoted within {_PROMOTED_S} s")
            self.primary = chosen
            tell(chosen)
            for name in followers:
                if name != chosen:
                    connection.execute("SELECT pg_create_physical_replication_slot(%s)", [name])
        for name in followers:
            if name not in (chosen, before):
                self._set(name, "primary_conninfo", self._conninfo(chosen))
        return chosen

    def _received(self, name: str) -> int:
        with connect(self.servers[name].url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn)::bigint"
            ).fetchone()
        return row[0] if row and row[0] is not None else 0

    def cut_off(self, name: str) -> None:
        """A follower hears nothing of its primary any more, until another is promoted or it rejoins."""
        self._set(name, "primary_conninfo", "host=127.0.0.1 port=1")
        deadline = time.monotonic() + _PROMOTED_S
        with connect(self.servers[name].url, autocommit=True) as connection:
            while connection.execute("SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'").fetchone():
                if time.monotonic() > deadline:
                    raise ServerError(f"{name} was not cut off within {_PROMOTED_S} s")
                time.sleep(0.02)  # polling: it ends its connection when it has read its settings again

    def rejoin(self, name: str) -> None:
        """A server that died, or was left behind, follows the primary: made anew from it, never started as it was."""
        if is_alive(self.servers[name].record):
            self.kill(name)
        port = urlsplit(self.servers[name].url).port
        self.servers[name] = follow(
            self._programs,
            self._home,
            self._registry,
            self.servers[self.primary].url,
            name,
            pinned=SMALL,
            port=port,
        )

    def wait_until_replayed(self) -> None:
        """Return when every follower has replayed what the primary has written. Raises ServerError in the end."""
        Replicated(
            self.servers[self.primary], tuple(self.servers[name] for name in self.followers)
        ).wait_until_replayed()

    def cancel_waiting(self) -> int:
        """Cancel what waits for a follower on the primary, as an administrator does; how many that were."""
        with connect(self.servers[self.primary].url, autocommit=True) as connection:
            return len(connection.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            ).fetchall())  # fmt: skip

    def close(self) -> None:
        """Stop all, and remove what they kept."""
        for name in sorted(self.servers, key=lambda one: one == self.primary):
            self.kill(name)
        shutil.rmtree(self._home, ignore_errors=True)

    def _conninfo(self, name: str) -> str:
        parts = urlsplit(self.servers[name].url)
        return f"user=archzero password={parts.password} host=127.0.0.1 port={parts.port} sslmode=disable"

    def _set(self, name: str, setting: str, value: str) -> None:
        with connect(self.servers[name].url, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(setting), sql.Literal(value)))
            connection.execute("SELECT pg_reload_conf()")

    def _processes(self, name: str) -> list[int]:
        if not is_alive(self.servers[name].record):
            return []  # its number may be another's by now
        with suppress(psutil.Error):
            server = psutil.Process(self.servers[name].record.pid)
            return [server.pid, *(child.pid for child in server.children())]
        return []

    def _signal(self, name: str, number: signal.Signals) -> None:
        for _ in range(2):  # the second time those that it had started meanwhile
            for pid in self._processes(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


class Watcher:
    """Looks at a cluster's primary and promotes a follower where it does not answer; from `start` to `close`.

    For experiments: it believes its own eyes alone. For production Patroni and its like ask a quorum. `fence` ends the
    old primary before another is promoted; without it the old one may take writes that nobody will find.
    """

    def __init__(self, cluster: FailoverCluster, *, on_promoted: Callable[[str, float], None]) -> None:
        self._cluster, self._on_promoted = cluster, on_promoted
        self._over, self._looking = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.fence = True

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(60)

    def aside(self) -> threading.Lock:
        """Held by who changes the cluster himself."""
        return self._looking

    def _watch(self) -> None:
        failed = 0
        while not self._over.wait(_LOOK_S):
            with self._looking:
                failed = 0 if self._answers() else failed + 1
                if failed < _FAILED:
                    continue
                failed = 0
                with suppress(LabError, psycopg.Error):  # looks again
                    if self.fence:
                        self._cluster.kill(self._cluster.primary)
                    self._cluster.promote(tell=lambda name: self._on_promoted(name, time.monotonic()))

    def _answers(self) -> bool:
        """Whether the primary answers in time; asked on a thread: a stopped server takes connections, too."""
        url, heard = self._cluster.servers[self._cluster.primary].url, threading.Event()
        answers: list[bool] = []

        def ask() -> None:
            try:
                with psycopg.connect(url, connect_timeout=2) as connection:
                    connection.execute("SELECT")
                answers.append(True)
            except psycopg.Error:  # refused at once: nobody is there
                answers.append(False)
            heard.set()

        threading.Thread(target=ask, daemon=True).start()
        return heard.wait(_ANSWER_S) and answers[0]
