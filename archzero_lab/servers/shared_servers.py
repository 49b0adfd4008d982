"""Servers that several commands of one checkout use at once: started by the first, stopped after the last."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from archzero_lab.errors import LabError
from archzero_lab.servers.process import ProcessRecord, ProcessRegistry, in_stopping_order, is_alive

SERVERS = ("redis", "postgres")
"""Stopped after everything that uses them, in this order."""
_KEEPER = "keeper"
_PATIENCE_S = 180.0
"""A first start copies programs and makes a cluster; a stop waits for a checkpoint."""


def group_of(*chosen: str) -> str:
    """The name of the servers that commands with these settings share."""
    return hashlib.sha256("\0".join(chosen).encode()).hexdigest()[:8]


@contextmanager
def transition(state: Path, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Let one command at a time start, join, leave or stop servers; the others wait. Raises LabError in the end."""
    lock = FileLock(state / "servers.lock", timeout=patience_s, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise LabError(
            f"another command has been starting or stopping servers for {patience_s:.0f} s; see ./lab status,"
            " or end everything with ./lab down"
        ) from None
    try:
        yield
    finally:
        lock.release()


class Use:
    """A command's hold on the servers of a group: a lock that the kernel takes back however the command ends.

    It is taken, given back and asked for within a `transition` only.
    """

    def __init__(self, state: Path, group: str) -> None:
        self._file = os.open(_users(state, group), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def end(self) -> None:
        """Give it back. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def is_used(state: Path, group: str) -> bool:
    """Whether a command that lives uses the servers of a group."""
    file = os.open(_users(state, group), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # the keeper holds it for the moment in which it learns that nobody does
        for _ in range(20):
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
            time.sleep(0.005)
        return True
    finally:
        os.close(file)


def wait_until_unused(state: Path, group: str) -> None:
    """Return when no command holds the servers of a group, at once where none does."""
    file = os.open(_users(state, group), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    finally:
        os.close(file)


def start_keeper(state: Path, group: str, processes: ProcessRegistry) -> None:
    """Start, once for a group, the process that stops its servers where the last command could not (SIGKILL)."""
    if not any(record.name == _KEEPER and is_alive(record) for record in _records(processes, group)):
        argv = [sys.executable, "-P", "-m", "archzero_lab.servers.keeper", str(state), group]
        processes.spawn(_KEEPER, argv, log=state / "keeper.log", shared=group)


def shared_parts(state: Path, group: str, processes: ProcessRegistry) -> dict[str, Any]:
    """URL and pid of each server of a group that runs, by name."""
    alive = {record.pid for record in _records(processes, group) if is_alive(record)}
    with suppress(OSError, ValueError):
        written = json.loads(_parts(state, group).read_text())
        return {name: part for name, part in written.items() if part["pid"] in alive}
    return {}


def write_shared_parts(state: Path, group: str, parts: dict[str, Any]) -> None:
    """Write down URL and pid of a group's servers (mode 0600: the URLs hold passwords)."""
    partial = _parts(state, group).with_suffix(f".{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(parts))
    partial.rename(_parts(state, group))


def end_unused(state: Path, processes: ProcessRegistry) -> None:
    """Stop the shared servers that no living command uses."""
    for group in {record.shared for record in processes.records() if record.shared}:
        if not is_used(state, group):
            for record in in_stopping_order(_records(processes, group), last=SERVERS):
                if record.pid == os.getpid():  # the keeper, which ends by itself
                    processes.forget(record)
                else:
                    processes.stop(record)
            _parts(state, group).unlink(missing_ok=True)


def keep_shared(state: Path, group: str, processes: ProcessRegistry) -> None:
    """Make the servers of a group such as stay up after every command; nobody watches over them any more."""
    for record in _records(processes, group):
        if record.name == _KEEPER:
            processes.stop(record)
        elif is_alive(record):
            processes.keep(record)
    _parts(state, group).unlink(missing_ok=True)


def _records(processes: ProcessRegistry, group: str) -> list[ProcessRecord]:
    return [record for record in processes.records() if record.shared == group]


def _users(state: Path, group: str) -> Path:
    return state / f"servers.{group}.users"


def _parts(state: Path, group: str) -> Path:
    return state / f"servers.{group}.json"
