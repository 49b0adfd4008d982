"""What a run was measured on: machine, kernel, versions, settings, commit; without names or paths of the machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
import redis

from archzero_lab.postgres.connection import connect
from archzero_lab.servers.stack import Stack
from archzero_lab.servers.versions import postgres_version, redis_version
from archzero_lab.settings import CHECKOUT, IN_CHECKOUT

# settings that name places of the machine rather than behaviour
_PLACES = (
    "port",
    "listen_addresses",
    "unix_socket_directories",
    "data_directory",
    "hba_file",
    "ident_file",
    "config_file",
)


def describe(stack: Stack) -> dict[str, Any]:
    """Everything a reader needs to judge absolute figures."""
    with connect(stack.postgres_url) as connection:
        version = postgres_version(connection)
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE source NOT IN ('default', 'override', 'client')"
            " AND name <> ALL (%s) ORDER BY 1",
            [list(_PLACES)],
        ).fetchall()
        settings: dict[str, str] = dict(rows)
    client = redis.Redis.from_url(stack.redis_url, socket_timeout=5)
    info: dict[str, Any] = client.info()
    memory: Any = client.config_get("maxmemory*") if stack.redis_pid else {}
    client.close()
    return describe_machine() | {
        "servers": stack.settings.servers if stack.ours else "given by URL",
        "postgres_version": version or None,
        "postgres_settings": settings,
        "redis_version": redis_version(info)[1],
        "redis_server": redis_version(info)[0],
        "redis_settings": memory,
    }


def describe_machine() -> dict[str, Any]:
    """The machine and the code, without servers."""
    return {
        "machine": machine_fingerprint(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "lab_version": importlib.metadata.version("archzero-lab"),
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": bool(git("status", "--porcelain")),
    }


def machine_fingerprint() -> str:
    """Eight hexadecimal digits of what makes a machine of another speed: its CPU, cores and memory."""
    memory_gb = round(psutil.virtual_memory().total / 2**30)
    return hashlib.sha256(f"{_cpu()} {os.cpu_count()} {memory_gb}".encode()).hexdigest()[:8]


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def git(*arguments: str) -> str | None:
    """What git says of the lab's own checkout, None where it is none (an installed package)."""
    if not IN_CHECKOUT:
        return None
    done = subprocess.run(["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
