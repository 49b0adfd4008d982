"""The running stack: PostgreSQL and Redis, ours or somebody's, for one command or kept up across commands."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis
from filelock import FileLock, Timeout

from archzero_lab.errors import LabError, ServerError, mask_secrets
from archzero_lab.postgres.connection import connect, require_no_pooler, require_url
from archzero_lab.postgres.databases import lab_databases
from archzero_lab.postgres.shell_variables import completed
from archzero_lab.servers import postgres_server, redis_server
from archzero_lab.servers.process import ProcessRecord, ProcessRegistry, in_stopping_order, is_alive
from archzero_lab.servers.server_home import server_home
from archzero_lab.settings import DATABASE_PREFIX, STATE, Settings, keep_out_of_git

SERVERS = ("redis", "postgres")
"""Stopped after everything that uses them, in this order."""
TREE = hashlib.sha256(str(STATE).encode()).hexdigest()[:6]
"""Part of every name that this stack makes on a server, so that two checkouts never touch each other's."""


@dataclass(frozen=True)
class Stack:
    """Where the servers are. A pid is None for a server that is not ours."""

    settings: Settings
    registry: ProcessRegistry
    postgres_url: str
    postgres_pid: int | None
    redis_url: str
    redis_pid: int | None

    @property
    def ours(self) -> bool:
        """Whether the PostgreSQL server was started by the lab (and may hold data between runs)."""
        return self.postgres_pid is not None

    @property
    def postgres_programs(self) -> Path:
        """The programs of its PostgreSQL: pg_dump, pg_restore and the rest."""
        return programs_of(self.settings)

    def database_name(self, purpose: str) -> str:
        """The name of this checkout's database for a purpose, such as base or run_control."""
        return f"{DATABASE_PREFIX}{TREE}_{purpose}"

    def databases(self) -> dict[str, str]:
        """This checkout's databases and what each holds, by purpose."""
        prefix = self.database_name("")
        found = lab_databases(self.postgres_url)
        return {name.removeprefix(prefix): label for name, label in found.items() if name.startswith(prefix)}


def programs_of(settings: Settings) -> Path:
    """The folder of the PostgreSQL programs that these settings choose. Raises ServerError where there are none."""
    system = settings.servers == "system"
    return postgres_server.system_programs() if system else postgres_server.embedded_programs()


def redis_program(settings: Settings) -> Path:
    """The Redis program that these settings choose. Raises ServerError where there is none."""
    return redis_server.system_program() if settings.servers == "system" else redis_server.embedded_program()


def registry() -> ProcessRegistry:
    """The processes of this checkout."""
    keep_out_of_git(STATE)
    return ProcessRegistry(STATE / "run")


_HELD = "ARCHZERO_LOCK_OF"
_PART_OF_ONE = os.environ.get(_HELD) == str(STATE)
"""Whether a command that measures started this process (the kernel of a notebook): it is part of it then."""
_thread = threading.local()


@contextmanager
def exclusive(what: str) -> Iterator[None]:
    """Let one command at a time measure or change the stack. Raises LabError naming the other one.

    What such a command does itself, in its thread or in a process that it started, is part of it and is let through.
    """
    if _PART_OF_ONE or getattr(_thread, "holds", False):
        yield
        return
    keep_out_of_git(STATE)
    holder = STATE / "lock.holder"  # not in the lock itself, which every attempt empties
    lock = FileLock(STATE / "lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        other = holder.read_text().strip() if holder.is_file() else ""
        raise LabError(
            f"{other or 'another command'} is running in this checkout; wait for it or stop it, then run again"
        ) from None
    try:
        holder.write_text(f"./lab {what} (pid {os.getpid()})")
        os.environ[_HELD], _thread.holds = str(STATE), True
        yield
    finally:
        os.environ.pop(_HELD, None)
        _thread.holds = False
        holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def running_stack(settings: Settings, *, redis: bool = True) -> Iterator[Stack]:
    """The stack that `./lab up` keeps, or one of our own that is stopped when the block ends, however it ends.

    Without Redis for what needs none: its URL is "" then.
    """
    processes = registry()
    processes.end_leftovers()
    kept = kept_stack(settings)
    if kept is not None:
        try:
            yield kept
        finally:
            processes.stop_own(last=SERVERS)
        return
    try:
        yield _start(settings, processes, kept=False, started=[], with_redis=redis)
    finally:
        processes.stop_own(last=SERVERS)


def bring_up(settings: Settings) -> Stack:
    """Start what is not running and keep it up after this command ends."""
    processes = registry()
    processes.end_leftovers()
    existing = kept_stack(settings)
    if existing is not None:
        return existing
    started: list[ProcessRecord] = []
    try:
        stack = _start(settings, processes, kept=True, started=started)
        record_state(postgres=_told(stack.postgres_url, started, "postgres"),
                     redis=_told(stack.redis_url, started, "redis"), service=None)  # fmt: skip
    except BaseException:
        for record in reversed(started):
            processes.stop(record)
        raise
    return stack


def take_down() -> list[str]:
    """Stop everything this checkout has running; return the names."""
    processes = registry()
    stopped = []
    for record in in_stopping_order(processes.records(), last=SERVERS):
        if is_alive(record):
            stopped.append(record.name)
        processes.stop(record)
    (STATE / "state.json").unlink(missing_ok=True)
    return stopped


def kept_stack(settings: Settings) -> Stack | None:
    """The stack that is kept up, if its processes are still those that were started."""
    state = read_state()
    if state is None:
        return None
    processes = registry()
    alive = {record.pid for record in processes.records() if is_alive(record)}
    for part in ("postgres", "redis"):
        if state[part]["pid"] is not None and state[part]["pid"] not in alive:
            return None
    return Stack(
        settings, processes, state["postgres"]["url"], state["postgres"]["pid"], state["redis"]["url"],
        state["redis"]["pid"],
    )  # fmt: skip


def status(settings: Settings) -> dict[str, Any]:
    """What runs: URLs, pids, databases. The password of a server that is not ours is masked."""
    stack = kept_stack(settings)
    if stack is None:
        return {
            "postgres": {"url": None, "pid": None},
            "redis": {"url": None, "pid": None},
            "service": {"url": None, "pids": []},
            "databases": {},
        }
    state = read_state() or {}
    service = state.get("service") or {"url": None, "pid": None}
    alive = {record.pid for record in stack.registry.records() if is_alive(record)}
    running = service["pid"] in alive
    return {
        "postgres": {"url": _shown(stack.postgres_url, stack.postgres_pid), "pid": stack.postgres_pid},
        "redis": {"url": _shown(stack.redis_url, stack.redis_pid), "pid": stack.redis_pid},
        "service": {"url": service["url"] if running else None, "pids": _family(service["pid"]) if running else []},
        "databases": stack.databases(),
    }


def read_state() -> dict[str, Any] | None:
    """What `./lab up` wrote down, or None."""
    with suppress(OSError, ValueError):
        state: dict[str, Any] = json.loads((STATE / "state.json").read_text())
        return state
    return None


def record_state(**parts: Any) -> None:
    """Write down parts of the state (mode 0600: the URLs hold passwords)."""
    path = STATE / "state.json"
    partial = path.with_suffix(f".{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps({**(read_state() or {}), **parts}))
    partial.rename(path)


def _start(
    settings: Settings, processes: ProcessRegistry, *, kept: bool, started: list[ProcessRecord], with_redis: bool = True
) -> Stack:
    home = server_home(STATE)
    if settings.database_url:
        postgres_url, postgres_pid = completed(require_url(settings.database_url)), None
        with connect(postgres_url) as connection:
            require_no_pooler(connection)
            if connection.info.server_version < postgres_server.MINIMUM_VERSION * 10_000:
                raise ServerError(
                    f"PostgreSQL {connection.info.server_version // 10_000} at {postgres_url} is too old; "
                    f"use {postgres_server.MINIMUM_VERSION} or newer"
                )
    else:
        programs = programs_of(settings)
        postgres = postgres_server.start_postgres(programs, home, processes, kept=kept)
        started.append(postgres.record)
        postgres_url, postgres_pid = postgres.url, postgres.record.pid
    if not with_redis:
        redis_url, redis_pid = "", None
    elif settings.redis_url:
        _check_redis(settings.redis_url)
        redis_url, redis_pid = settings.redis_url, None
    else:
        server = redis_server.start_redis(redis_program(settings), home, processes, kept=kept)
        started.append(server.record)
        redis_url, redis_pid = server.url, server.record.pid
    return Stack(settings, processes, postgres_url, postgres_pid, redis_url, redis_pid)


def _check_redis(url: str) -> None:
    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5)
        version = str(client.info("server")["redis_version"])
        client.close()
    except (redis.RedisError, ValueError) as error:
        raise ServerError(f"cannot use Redis at {mask_secrets(url)}: {error}; check ARCHZERO_REDIS_URL") from None
    if tuple(int(part) for part in version.split(".")[:2]) < redis_server.MINIMUM_VERSION:
        raise ServerError(f"Redis {version} at {mask_secrets(url)} is too old; use 6.2 or newer")


def _told(url: str, started: list[ProcessRecord], name: str) -> dict[str, Any]:
    return {"url": url, "pid": next((record.pid for record in started if record.name == name), None)}


def _shown(url: str, pid: int | None) -> str:
    return url if pid is not None else mask_secrets(url)


def _family(pid: int) -> list[int]:
    """A process and its children."""
    with suppress(psutil.Error):
        return [pid, *(child.pid for child in psutil.Process(pid).children())]
    return [pid]
