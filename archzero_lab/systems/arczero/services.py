"""Card services as processes: started on a port, waited for, told apart by their arm."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from archzero_lab.errors import ServerError
from archzero_lab.servers.process import ProcessRecord, free_port, is_alive, tail
from archzero_lab.servers.stack import TREE, Stack
from archzero_lab.settings import ROOT, STATE
from archzero_lab.systems.arczero.service import VARIABLE, IndexSet, ServiceConfig

SERVICE_ARMS = {
    "control": ("control", False),
    "indexes": ("treatment", False),
    "cache": ("control", True),
    "treatment": ("treatment", True),
    "v2": ("v2", False),
    "v2-cache": ("v2", True),
}
"""Name of a service's arm -> (database, cache): without both, phase 5's indexes alone, its cache alone, both; index set
v2 with the statements that fit it, alone and with the cache."""


@dataclass(frozen=True)
class RunningService:
    """A service that answers at `url`; its keys in Redis begin with `namespace`."""

    arm: str
    url: str
    record: ProcessRecord
    namespace: str


def index_set_of(database: str) -> IndexSet:
    """The index set of an arm's database, whose statements its service sends."""
    return "v2" if database == "v2" else "phase5"


def start_service(
    stack: Stack,
    arm: str,
    database_url: str,
    *,
    cached: bool,
    index_set: IndexSet = "phase5",
    host: str = "127.0.0.1",
    port: int | None = None,
    workers: int = 1,
    kept: bool = False,
    code: Path = ROOT,
    record: Path | None = None,
    timeout_s: float = 30.0,
) -> RunningService:
    """Start a service and wait until it answers. Its statements fit the database's `index_set`.

    `code` is the checkout whose service it is, `record` its access log.

    Raises ServerError for a taken port or a failed start.
    """
    if port is not None:
        _check_port(host, port)
    port = port or free_port()
    logs = STATE / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"service-{arm}.log"
    log.unlink(missing_ok=True)
    counters = STATE / "counters" / f"{arm}-{secrets.token_hex(4)}"
    counters.mkdir(parents=True)
    config = ServiceConfig(
        database_url=database_url,
        redis_url=stack.redis_url if cached else None,
        namespace=f"archzero:{TREE}:{arm}:{secrets.token_hex(3)}",
        index_set=index_set,
        admin_token=stack.settings.admin_token,
        record=str(record.resolve()) if record is not None else "",
        cache=stack.settings.cache,
        pool=stack.settings.pool,
    )
    env = {
        **os.environ,
        VARIABLE: config.encode(),
        "PROMETHEUS_MULTIPROC_DIR": str(counters),
        "PYTHONPATH": os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    argv = [
        sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--host", host, "--port", str(port),
        "--workers", str(workers), "--loop", "uvloop", "--no-ws", "--log-level", "warning", "--backlog", "1024",
        "archzero_lab.systems.arczero.service:create",
    ]  # fmt: skip
    process = stack.registry.spawn(f"service-{arm}", argv, log=log, env=env, kept=kept, cwd=code)
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not bound
    try:
        _wait_until_ready(reachable, port, process, log, timeout_s)
    except BaseException:
        stack.registry.stop(process)
        raise
    shown = f"[{reachable}]" if ":" in reachable else reachable
    return RunningService(arm, f"http://{shown}:{port}", process, config.namespace)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(f"cannot listen on {host} port {port}: {error.strerror}; choose another --port") from None


def _wait_until_ready(host: str, port: int, record: ProcessRecord, log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not is_alive(record):
            raise ServerError(f"the service did not start: {tail(log, 2) or 'no message'} (whole log: {log})")
        connection = http.client.HTTPConnection(host, port, timeout=5)
        try:
            connection.request("GET", "/api/v1/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass  # not listening yet
        finally:
            connection.close()
        time.sleep(0.05)  # polling: the service says nothing when it begins to listen
    raise ServerError(f"the service did not answer within {timeout_s:.0f} s: {tail(log, 2)} (whole log: {log})")
