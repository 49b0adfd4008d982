"""The running stack: PostgreSQL and Redis, ours or somebody's, for one command or kept up across commands."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis

from archzero_lab.errors import ServerError, mask_secrets
from archzero_lab.postgres.connection import connect, require_no_pooler, require_url
from archzero_lab.postgres.databases import lab_databases
from archzero_lab.postgres.shell_variables import completed
from archzero_lab.servers import postgres_server, redis_server, shared_servers
from archzero_lab.servers.process import ProcessRegistry, in_stopping_order, is_alive
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.shared_servers import SERVERS
from archzero_lab.settings import DATABASE_PREFIX, STATE, Settings, keep_out_of_git

SUPERVISOR = "supervisor"
"""The process that watches over what is kept up; it is stopped before that."""
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
        labels = lab_databases(self.postgres_url)
        return {name.removeprefix(prefix): label for name, label in labels.items() if name.startswith(prefix)}


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


@contextmanager
def running_stack(settings: Settings, *, redis: bool = True) -> Iterator[Stack]:
    """The stack that `./lab up` keeps, or one that commands at the same time share and the last one stops.

    Without Redis for what needs none: its URL is "" then. Raises ServerError where a server does not come up.
    """
    processes = registry()
    group = _group(settings)
    with ExitStack() as leaving:
        with shared_servers.transition(STATE):
            processes.end_leftovers()
            shared_servers.end_unused(STATE, processes)
            stack = kept_stack(settings)
            if stack is None:
                leaving.enter_context(_leaving(processes, shared_servers.Use(STATE, group)))
                shared_servers.start_keeper(STATE, group, processes)
                stack = _start(settings, processes, group=group, with_redis=redis)
            else:
                leaving.callback(processes.stop_own, last=SERVERS)
        yield stack


@contextmanager
def _leaving(processes: ProcessRegistry, use: shared_servers.Use) -> Iterator[None]:
    """Stop what this command started for itself when the block ends, and the servers if nobody else uses them."""
    try:
        yield
    finally:
        try:
            processes.stop_own(last=SERVERS)
        finally:
            with shared_servers.transition(STATE):
                use.end()
                shared_servers.end_unused(STATE, processes)


def keep_servers(stack: Stack) -> None:
    """Let a running stack's servers stay up after every command; of those that are kept already nothing changes."""
    with shared_servers.transition(STATE):
        if kept_stack(stack.settings) is None:
            shared_servers.keep_shared(STATE, _group(stack.settings), stack.registry)
            record_state(postgres={"url": stack.postgres_url, "pid": stack.postgres_pid},
                         redis={"url": stack.redis_url, "pid": stack.redis_pid}, service=None)  # fmt: skip


def take_down() -> list[str]:
    """Stop everything this checkout has running; return the names."""
    processes = registry()
    for record in processes.records():
        if record.name == SUPERVISOR:
            processes.stop(record)  # else it would start again what is stopped now
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
            "replicas": {},
            "prometheus": None,
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
        "replicas": state.get("replicas") or {},
        "prometheus": state.get("prometheus"),
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


def _group(settings: Settings) -> str:
    return shared_servers.group_of(settings.servers, settings.database_url, settings.redis_url)


def _start(settings: Settings, processes: ProcessRegistry, *, group: str, with_redis: bool = True) -> Stack:
    """The servers of a group: those that run, and what is missing started. Within a transition only."""
    home = server_home(STATE)
    parts = shared_servers.shared_parts(STATE, group, processes)
    if settings.database_url:
        postgres_url, postgres_pid = _checked_postgres(settings.database_url), None
    else:
        if "postgres" not in parts:
            server = postgres_server.start_postgres(programs_of(settings), home, processes, shared=group)
            parts["postgres"] = {"url": server.url, "pid": server.record.pid}
        postgres_url, postgres_pid = parts["postgres"]["url"], parts["postgres"]["pid"]
    if not with_redis:
        redis_url, redis_pid = "", None
    elif settings.redis_url:
        _check_redis(settings.redis_url)
        redis_url, redis_pid = settings.redis_url, None
    else:
        if "redis" not in parts:
            cache = redis_server.start_redis(redis_program(settings), home, processes, shared=group)
            parts["redis"] = {"url": cache.url, "pid": cache.record.pid}
        redis_url, redis_pid = parts["redis"]["url"], parts["redis"]["pid"]
    shared_servers.write_shared_parts(STATE, group, parts)
    return Stack(settings, processes, postgres_url, postgres_pid, redis_url, redis_pid)


def _checked_postgres(given: str) -> str:
    url = completed(require_url(given))
    with connect(url) as connection:
        require_no_pooler(connection)
        if connection.info.server_version < postgres_server.MINIMUM_VERSION * 10_000:
            raise ServerError(
                f"PostgreSQL {connection.info.server_version // 10_000} at {url} is too old; "
                f"use {postgres_server.MINIMUM_VERSION} or newer"
            )
    return url


def _check_redis(url: str) -> None:
    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5)
        version = str(client.info("server")["redis_version"])
        client.close()
    except (redis.RedisError, ValueError) as error:
        raise ServerError(f"cannot use Redis at {mask_secrets(url)}: {error}; check ARCHZERO_REDIS_URL") from None
    if tuple(int(part) for part in version.split(".")[:2]) < redis_server.MINIMUM_VERSION:
        raise ServerError(f"Redis {version} at {mask_secrets(url)} is too old; use 6.2 or newer")


def _shown(url: str, pid: int | None) -> str:
    return url if pid is not None else mask_secrets(url)


def _family(pid: int) -> list[int]:
    """A process and its children."""
    with suppress(psutil.Error):
        return [pid, *(child.pid for child in psutil.Process(pid).children())]
    return [pid]
