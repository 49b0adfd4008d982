"""Prometheus and what it reads beside a kept service: started by `up --observe`, started again where they are gone."""

from __future__ import annotations

import os
import sys
from typing import Any
from urllib.parse import urlsplit

from archzero_lab.bootstrap.exporter import POSTGRES, REDIS
from archzero_lab.postgres.databases import database_url
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.process import ProcessRegistry, is_alive
from archzero_lab.servers.prometheus import PROMETHEUS, start_prometheus
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import STATE

_EXPORTER = "exporter"


def start_observers(stack: Stack, service_url: str, database: str, *, every: str = "5s") -> dict[str, Any]:
    """Start both, those that run already ended; what `status` shows of them. Raises ServerError."""
    end_observers(stack.registry)
    port = free_port()
    given = {POSTGRES: database_url(stack.postgres_url, urlsplit(database).path.lstrip("/")), REDIS: stack.redis_url}
    argv = [sys.executable, "-P", "-m", "archzero_lab.bootstrap.exporter", str(port)]
    log = STATE / "logs" / "exporter.log"
    exporter = stack.registry.spawn(_EXPORTER, argv, log=log, env={**os.environ, **given}, kept=True)
    try:
        places = {"service": urlsplit(service_url).netloc, "servers": f"127.0.0.1:{port}"}
        url, record = start_prometheus(server_home(STATE), stack.registry, places, every=every)
    except BaseException:
        stack.registry.stop(exporter)
        raise
    return {"url": url, "pids": [record.pid, exporter.pid]}


def end_observers(processes: ProcessRegistry) -> None:
    """Stop both. Idempotent."""
    for record in processes.records():
        if record.kept and record.name in (PROMETHEUS, _EXPORTER):
            processes.stop(record)


def observers_live(processes: ProcessRegistry, pids: list[int]) -> bool:
    """Whether both of these run."""
    return set(pids) <= {record.pid for record in processes.records() if is_alive(record)}
