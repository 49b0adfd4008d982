"""Card services as processes: started on a port, waited for, told apart by their arm."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from archzero_lab.errors import ServerError
from archzero_lab.postgres.databases import let_watch, on_server, same_database, service_url
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.process import ProcessRecord, is_alive, tail
from archzero_lab.servers.stack import TREE, Stack
from archzero_lab.settings import STATE, patient
from archzero_lab.systems.arczero.service_config import VARIABLE, IndexSet, ServiceConfig
from archzero_lab.systems.http import call

_READY_S = 30.0
_SERVE = "archzero_lab.systems.arczero.serve"


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


def url_of_service(stack: Stack, url: str) -> str:
    """The URL by which a service works on one of our databases: an ordinary role's, on a server that is ours.

    On one that was given by URL it is the role of that URL, which may not be able to make another.
    """
    return service_url(url) if stack.ours else url


def urls_of_replicas(stack: Stack, database_url: str, kept: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """The URLs by which a service reads its database on the replicas that are `kept`, or else that settings name."""
    if kept:
        let_watch(stack.postgres_url, urlsplit(database_url).username or "")
        return tuple(on_server(database_url, part["url"]) for part in kept.values())
    named = [url.strip() for url in stack.settings.database_replicas.split(",") if url.strip()]
    if named and stack.ours:
        raise ServerError("[database] replicas are of your own PostgreSQL: name it, too (ARCHZERO_DATABASE_URL)")
    return tuple(same_database(database_url, url) for url in named)


@dataclass(frozen=True)
class Serving:
    """How a service runs: on which database, whose `index_set` its statements fit, with the cache or without.

    With `statements` results of statements are cached in place of answers; `replicas` are URLs that reads may go to.
    `code` is another checkout whose service it is, `record` its access log, port None any free one; a `kept` one
    outlives the command. A `patient` one lets what is slow be slow, as an experiment's arm must. `server` is the
    module that runs it, `environment` what its processes are told besides.
    """

    arm: str
    database_url: str
    cached: bool
    statements: bool = False
    replicas: tuple[str, ...] = ()
    index_set: IndexSet = "phase5"
    host: str = "127.0.0.1"
    port: int | None = None
    workers: int = 1
    kept: bool = False
    code: Path | None = None
    record: Path | None = None
    patient: bool = False
    server: str = _SERVE
    environment: Mapping[str, str] = field(default_factory=dict)


def start_service(stack: Stack, serving: Serving) -> RunningService:
    """Start a service and wait until it answers. Raises ServerError for a taken port or a failed start."""
    return start_services([(stack, serving)])[0]


def start_services(servings: Sequence[tuple[Stack, Serving]]) -> list[RunningService]:
    """Start services side by side and wait until all of them answer; where one does not, none is left running."""
    spawned: list[RunningService] = []
    try:
        for stack, serving in servings:
            spawned.append(_spawn(stack, serving))
        for service in spawned:
            _wait_until_ready(service, _log(service.arm))
    except BaseException:
        for (stack, _), service in zip(servings, spawned, strict=False):
            stack.registry.stop(service.record)
        raise
    return spawned


def _log(arm: str) -> Path:
    return STATE / "logs" / f"service-{arm}.log"


def _spawn(stack: Stack, serving: Serving) -> RunningService:
    host = serving.host
    if not (host == "localhost" or _is_loopback(host) or stack.settings.admin_token):
        raise ServerError(f"a service on {host} is for others too: set ARCHZERO_ADMIN_TOKEN for what changes its cache")
    if serving.port is not None:
        _check_port(host, serving.port)
    port = serving.port or free_port()
    log = _log(serving.arm)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    counters = STATE / "counters" / f"{serving.arm}-{secrets.token_hex(4)}"
    counters.mkdir(parents=True)
    config = ServiceConfig(
        database_url=serving.database_url,
        redis_url=stack.redis_url if serving.cached else None,
        namespace=f"archzero:{TREE}:{serving.arm}:{secrets.token_hex(3)}",
        statements=serving.statements,
        replicas=serving.replicas,
        replica=stack.settings.replica,
        index_set=serving.index_set,
        admin_token=stack.settings.admin_token,
        allowed_hosts=tuple(name.strip() for name in stack.settings.allowed_hosts.split(",") if name.strip()),
        record=str(serving.record.resolve()) if serving.record is not None else "",
        cache=stack.settings.cache,
        pool=patient(stack.settings.pool) if serving.patient else stack.settings.pool,
    )
    env = {**os.environ, VARIABLE: config.encode(), "PROMETHEUS_MULTIPROC_DIR": str(counters), **serving.environment}
    argv = [sys.executable, "-P", "-m", *_server(serving), "--host", host, "--port", str(port)]
    argv += ["--workers", str(serving.workers)]
    if serving.code is not None:
        env["PYTHONPATH"] = str(serving.code)
    process = stack.registry.spawn(
        f"service-{serving.arm}", argv, log=log, env=env, kept=serving.kept, cwd=serving.code
    )
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not bound
    shown = f"[{reachable}]" if ":" in reachable else reachable
    return RunningService(serving.arm, f"http://{shown}:{port}", process, config.namespace)


def _server(serving: Serving) -> list[str]:
    """What runs a service: its build's own server; for one of before that, uvicorn around its application."""
    code = serving.code
    if code is None:
        return [serving.server]
    if (code / "archzero_lab" / "systems" / "arczero" / "serve.py").exists():
        return [_SERVE]
    systems = (code / "archzero_lab" / "systems").exists()
    factory = "archzero_lab.systems.arczero.service:create" if systems else "archzero_lab.bootstrap.service:create"
    options = ["--loop", "uvloop", "--ws", "none", "--no-access-log", "--no-proxy-headers", "--log-level", "warning"]
    return ["uvicorn", "--factory", factory, *options, "--timeout-keep-alive", "75", "--backlog", "1024"]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(f"cannot listen on {host} port {port}: {error.strerror}; choose another --port") from None


def _wait_until_ready(service: RunningService, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        if not is_alive(service.record):
            raise ServerError(f"the service did not start: {tail(log, 2) or 'no message'} (whole log: {log})")
        if call(service.url, "GET", "/api/v1/health")[0] == 200:
            return
        time.sleep(0.05)  # polling: the service says nothing when it begins to listen
    raise ServerError(f"the service did not answer within {_READY_S:.0f} s: {tail(log, 2)} (whole log: {log})")
