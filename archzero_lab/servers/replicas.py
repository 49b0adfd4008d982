"""A primary and its streaming replicas, of an experiment's own, on loopback: replay held back as asked."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from archzero_lab.errors import ServerError
from archzero_lab.postgres.connection import connect
from archzero_lab.servers.postgres_server import PostgresServer, major_version, start_postgres
from archzero_lab.servers.private_files import given_folder, open_to_all, write_private
from archzero_lab.servers.process import ProcessRegistry
from archzero_lab.servers.server_home import server_home, server_user
from archzero_lab.servers.stack import Stack, read_state, record_state
from archzero_lab.settings import STATE

_FOLLOWS_S = 30.0


@dataclass(frozen=True)
class Lag:
    """How far replay is held back: by so many milliseconds after each commit, or `paused` until somebody resumes it."""

    ms: int = 0
    paused: bool = False


@dataclass(frozen=True)
class Replicated:
    """A primary and its replicas; URLs are those of the superuser's maintenance database."""

    primary: PostgresServer
    replicas: tuple[PostgresServer, ...]

    def wait_until_replayed(self) -> None:
        """Return when every replica has replayed what the primary has written. Raises ServerError in the end."""
        with connect(self.primary.url, autocommit=True) as connection:
            row = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        deadline = time.monotonic() + _FOLLOWS_S
        for replica in self.replicas:
            with connect(replica.url, autocommit=True) as connection:
                question = "SELECT coalesce(pg_last_wal_replay_lsn() >= %s::pg_lsn, false)"
                while connection.execute(question, [row[0] if row else "0/0"]).fetchone() != (True,):
                    if time.monotonic() > deadline:
                        raise ServerError(f"a replica did not follow within {_FOLLOWS_S:.0f} s; see {replica.log}")
                    time.sleep(0.02)  # polling: no released PostgreSQL waits for a position in SQL

    def hold_back(self, lag: Lag) -> None:
        """Hold replay back from now on."""
        for replica in self.replicas:
            with connect(replica.url, autocommit=True) as connection:
                # held in the file that the server itself writes: the command line would win over it for good
                connection.execute(f"ALTER SYSTEM SET recovery_min_apply_delay = '{lag.ms}ms'")
                connection.execute("SELECT pg_reload_conf()")
                connection.execute("SELECT pg_wal_replay_pause()" if lag.paused else "SELECT pg_wal_replay_resume()")
                deadline = time.monotonic() + _FOLLOWS_S
                wanted = ("paused",) if lag.paused else ("not paused",)
                while connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() != wanted:
                    if time.monotonic() > deadline:
                        raise ServerError(f"replay was not {wanted[0]} within {_FOLLOWS_S:.0f} s; see {replica.log}")
                    time.sleep(0.02)  # polling: what is asked for is done between two records


@contextmanager
def replicated(programs: Path, registry: ProcessRegistry, number: int) -> Iterator[Replicated]:
    """A new primary with `number` replicas on slots of their own, stopped and removed when the block ends.

    Raises ServerError where one does not come up.
    """
    home = open_to_all(server_home(STATE) / f"replicated-{uuid.uuid4().hex[:8]}")
    with ExitStack() as closing:
        closing.callback(shutil.rmtree, home, ignore_errors=True)
        primary = start_postgres(programs, home, registry, name="primary", pinned=SMALL)
        closing.callback(registry.stop, primary.record)
        replicas = []
        for index in range(1, number + 1):
            replica = follow(programs, home, registry, primary.url, f"replica{index}", pinned=SMALL)
            closing.callback(registry.stop, replica.record)
            replicas.append(replica)
        yield Replicated(primary, tuple(replicas))


_KEPT = "replica"
SMALL = {"shared_buffers": "128MB", "max_wal_size": "1GB", "wal_level": "replica"}
"""Of a cluster of an experiment's own."""


def follow(
    programs: Path, home: Path, registry: ProcessRegistry, primary_url: str, name: str, *,
    pinned: Mapping[str, str], port: int | None = None, kept: bool = False,
) -> PostgresServer:  # fmt: skip
    """A replica in a folder of its own: a base backup of the primary with a slot, whose WAL it reads from then on.

    One of that name that was there before, and its slot, are replaced. Raises ServerError.
    """
    user = server_user()
    base = home / f"{name}-{major_version(programs)}"
    shutil.rmtree(base, ignore_errors=True)
    drop_slot(primary_url, name)
    given_folder(base, user)
    parts = urlsplit(primary_url)
    assert parts.password is not None
    write_private(base.with_suffix(".password"), parts.password, user)
    command = [str(programs / "pg_basebackup"), "--host=127.0.0.1", f"--port={parts.port}", "--username=archzero",
               f"--pgdata={base / 'data'}", "--wal-method=stream", "--checkpoint=fast", "--create-slot",
               f"--slot={name}", "--write-recovery-conf", "--no-password"]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=base, user=user.pw_uid if user else None,
        group=user.pw_gid if user else None, extra_groups=[] if user else None,
        env={"PATH": "/usr/bin:/bin", "PGPASSWORD": parts.password, "PGSSLMODE": "disable"},
    )  # fmt: skip
    if done.returncode != 0:
        raise ServerError(f"a replica could not be made: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return start_postgres(programs, home, registry, name=name, pinned=pinned, port=port, kept=kept)


def drop_slot(primary_url: str, name: str) -> None:
    """A slot that nobody reads from keeps WAL: it goes, where it is there; `name` may end in % for several.

    Who still holds it is a reader that has died, which its server has not noticed yet. Raises ServerError.
    """
    deadline = time.monotonic() + _FOLLOWS_S
    with connect(primary_url, autocommit=True) as connection:
        while True:
            connection.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name LIKE %s AND active",
                [name],
            )
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name LIKE %s AND NOT active",
                [name],
            )
            row = connection.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE %s", [name])
            if row.fetchone() == (0,):
                return
            if time.monotonic() > deadline:
                raise ServerError(f"the slot {name} is still read from after {_FOLLOWS_S:.0f} s")
            time.sleep(0.05)  # polling until its reader has gone


def keep_replicas(stack: Stack, number: int) -> dict[str, dict[str, Any]]:
    """So many replicas of a stack's own PostgreSQL, made anew, that stay up after every command; URL and pid by name.

    What is left of earlier ones goes. Raises ServerError where one does not come up.
    """
    end_replicas(stack)
    made, home = {}, server_home(STATE)
    pinned = _pinned(number)
    try:
        for index in range(1, number + 1):
            name = f"{_KEPT}{index}"
            server = follow(
                stack.postgres_programs, home, stack.registry, stack.postgres_url, name, pinned=pinned, kept=True
            )
            made[name] = {"url": server.url, "pid": server.record.pid}
    except BaseException:
        end_replicas(stack)
        raise
    return made


def _pinned(number: int) -> dict[str, str]:
    """Of so many replicas beside their primary: a quarter of the memory over all."""
    return {"shared_buffers": f"{max(128, min(2048, psutil.virtual_memory().total // 2**20 // 4 // (number + 1)))}MB"}


def restart_replica(
    programs: Path, home: Path, processes: ProcessRegistry, primary_url: str, name: str, port: int | None
) -> PostgresServer:
    """A kept replica that is gone, at its port: it goes on where it was, or is made anew where it cannot."""
    base = home / f"{name}-{major_version(programs)}"
    pinned = _pinned(len((read_state() or {}).get("replicas") or {}))
    with connect(primary_url, autocommit=True) as connection:
        row = connection.execute("SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", [name]).fetchone()
    if (base / "data" / "standby.signal").exists() and row is not None and row[0] in ("reserved", "extended"):
        return start_postgres(programs, home, processes, name=name, kept=True, port=port, pinned=pinned)
    return follow(programs, home, processes, primary_url, name, pinned=pinned, port=port, kept=True)


def end_replicas(stack: Stack) -> None:
    """Stop the replicas that are kept, and let the primary forget them; nothing where the server is not ours."""
    if not stack.ours:
        return
    for record in stack.registry.records():
        if record.kept and record.name.startswith(_KEPT):
            stack.registry.stop(record)
    for folder in server_home(STATE).glob(f"{_KEPT}[0-9]*-{major_version(stack.postgres_programs)}"):
        shutil.rmtree(folder, ignore_errors=True)
    drop_slot(stack.postgres_url, f"{_KEPT}%")
    if (read_state() or {}).get("replicas"):
        record_state(replicas={})
