"""A team's builds as processes: started on a free port in their tree, waited for, ended with the command."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from archzero_lab.errors import MeasurementError, ServerError
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.process import ProcessRecord, ProcessRegistry, is_alive, tail
from archzero_lab.settings import STATE
from archzero_lab.systems.driver import Driver
from archzero_lab.systems.team.project_tables import Service
from archzero_lab.systems.team.shell import shell_command, team_environment

_LINES = 5


@dataclass(frozen=True)
class Started:
    """A build's service: where it answers, its process, and the log of what it printed."""

    url: str
    process: ProcessRecord
    log: Path


def start_build(
    service: Service, registry: ProcessRegistry, arm: str, tree: Path, variables: Mapping[str, str]
) -> Started:
    """Start a build's service; it does not answer yet. PORT tells it where to listen, on loopback."""
    port = free_port()
    log = STATE / "logs" / f"team-{arm}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    environment = team_environment({"PORT": str(port), **variables})
    name = f"team-{arm}-{secrets.token_hex(2)}"
    process = registry.spawn(name, shell_command(service.start), log=log, env=environment, cwd=tree)
    return Started(f"http://127.0.0.1:{port}", process, log)


def wait_until_ready(service: Service, arm: str, started: Started) -> None:
    """Wait until `ready` answers 2xx. Raises ServerError with the last lines that the build printed."""
    deadline = time.monotonic() + service.ready_s
    last = "it did not listen there"
    while time.monotonic() < deadline:
        if not is_alive(started.process):
            raise ServerError(
                f"arm {arm} ended before it was ready: {tail(started.log, _LINES) or 'it printed nothing'}"
            )
        driver = Driver(started.url, timeout_s=5)
        try:
            _, status, _ = driver.get(service.ready)
            if 200 <= status < 300:
                return
            last = f"it answered {status}"
        except MeasurementError as error:
            if "refused" not in str(error):
                last = str(error)
        finally:
            driver.close()
        time.sleep(0.05)  # polling: a service says nothing when it begins to listen
    raise ServerError(
        f"arm {arm} was not ready within {service.ready_s:g} s: GET {started.url}{service.ready}: {last} (it is to "
        f"listen on 127.0.0.1, port $PORT); it printed: {tail(started.log, _LINES) or 'nothing'}"
    )
