"""Prometheus beside a kept stack: on loopback, in a folder of its own, with rules of ours; Debian's program."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import yaml

from archzero_lab.errors import ServerError
from archzero_lab.servers.ports import free_port, is_free
from archzero_lab.servers.private_files import given_folder, write_private
from archzero_lab.servers.process import ProcessRecord, ProcessRegistry, is_alive, tail
from archzero_lab.servers.server_home import server_user

RULES = Path(__file__).with_name("prometheus_rules.yml")
"""What is recorded and what alarms; its unit tests run by promtool."""
PROMETHEUS = "prometheus"
_PORT, _RETENTION = 9090, "15d"
_READY_S = 30.0


def prometheus_program(name: str = PROMETHEUS) -> Path:
    """Prometheus on the PATH, or its promtool. Raises ServerError where there is none."""
    program = shutil.which(name)
    if program is None:
        raise ServerError(f"found no {name} on this machine; run: apt-get install prometheus")
    return Path(program)


def start_prometheus(
    home: Path, registry: ProcessRegistry, targets: Mapping[str, str], *, kept: bool = True, every: str = "5s"
) -> tuple[str, ProcessRecord]:
    """Start it with these jobs (name -> host:port) and wait until it answers; its URL.

    What it has recorded stays in its folder for 15 days. Raises ServerError where it does not come up.
    """
    program, user, base = prometheus_program(), server_user(), home / PROMETHEUS
    if not (base / "data").exists():
        given_folder(base, user)
    config, rules, log = (home / f"prometheus.{name}" for name in ("yml", "rules.yml", "log"))
    write_private(rules, RULES.read_text(), user)
    write_private(config, _config(targets, rules, every), user)
    log.unlink(missing_ok=True)
    port = _PORT if is_free(_PORT) else free_port()
    argv = [str(program), f"--config.file={config}", f"--storage.tsdb.path={base / 'data'}",
            f"--storage.tsdb.retention.time={_RETENTION}", f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    # another user's process: what is in our environment is none of its business
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"}
    record = registry.spawn(PROMETHEUS, argv, log=log, env=env, user=user, kept=kept, cwd=base)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + _READY_S
    try:
        while not _is_ready(url):
            if not is_alive(record) or time.monotonic() > deadline:
                raise ServerError(f"Prometheus did not start: {tail(log)} (whole log: {log})")
            time.sleep(0.05)  # polling until it answers
    except BaseException:
        registry.stop(record)
        raise
    return url, record


def _config(targets: Mapping[str, str], rules: Path, every: str) -> str:
    jobs = [{"job_name": name, "static_configs": [{"targets": [place]}]} for name, place in targets.items()]
    written: str = yaml.safe_dump(
        {
            "global": {"scrape_interval": every, "evaluation_interval": every, "scrape_timeout": every},
            "rule_files": [str(rules)],
            "scrape_configs": jobs,
        }
    )
    return written


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
