"""Kept servers that are gone are started again where they were, so that what still runs finds them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from archzero_lab.servers import postgres_server, redis_server
from archzero_lab.servers.process import is_alive
from archzero_lab.servers.replicas import restart_replica
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.stack import programs_of, read_state, record_state, redis_program, registry
from archzero_lab.settings import STATE, Settings

_SERVERS = ("postgres", "redis")


def missing_servers(*, all_gone: bool = False) -> list[str]:
    """The kept servers that are gone while something else that was kept with them still runs, or `all_gone`."""
    state = read_state()
    if state is None:
        return []
    alive = {record.pid for record in registry().records() if is_alive(record)}
    pids = {name: part["pid"] for name, part in _kept(state).items()}
    service = (state.get("service") or {}).get("pid")
    if not all_gone and not alive & {*pids.values(), service}:
        return []  # all of it is gone: nobody waits for it, and it is started anew
    return [name for name, pid in pids.items() if pid is not None and pid not in alive]


def restart_missing(settings: Settings, *, all_gone: bool = False, replicas: bool = False) -> list[str]:
    """Start the kept servers that are gone again, each at its old URL, so that what still runs finds it; their names.

    Without `replicas` the others, else those alone: nothing waits for a replica.

    Within a transition only: others may be about to do the same. Where nothing of the stack runs any more, only if
    somebody watches over it (`all_gone`). Raises ServerError where one does not come up; what runs goes on.
    """
    state, processes, home = read_state() or {}, registry(), server_home(STATE)
    restarted = [name for name in missing_servers(all_gone=all_gone) if (name not in _SERVERS) == replicas]
    for name in restarted:
        parts = urlsplit(_kept(state)[name]["url"])
        server: postgres_server.PostgresServer | redis_server.RedisServer
        if name == "postgres":
            server = postgres_server.start_postgres(programs_of(settings), home, processes, kept=True, port=parts.port)
        elif name != "redis":
            server = restart_replica(programs_of(settings), home, processes, state["postgres"]["url"], name, parts.port)
        else:
            server = redis_server.start_redis(
                redis_program(settings), home, processes, kept=True, port=parts.port, password=parts.password
            )
        part = {"url": server.url, "pid": server.record.pid}
        kept = (read_state() or {}).get("replicas") or {}
        record_state(**({"replicas": {**kept, name: part}} if name in kept else {name: part}))
    return restarted


def _kept(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """URL and pid of each kept server by name, the primary before its replicas."""
    return {"postgres": state["postgres"], "redis": state["redis"], **(state.get("replicas") or {})}
