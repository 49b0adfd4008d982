"""Processes that the lab owns: spawned as the right user, recorded on disk, ended for certain."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import pwd
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from archzero_lab.errors import ServerError
from archzero_lab.servers.child_environment import child_environment
from archzero_lab.servers.deferred_signals import deferred_signals

_PR_SET_PDEATHSIG = 1
_MARK = "ARCHZERO_PROCESS"


@dataclass(frozen=True)
class ProcessRecord:
    """One process of ours, told apart from a later one with the same pid by its start time on this very machine.

    `start_ticks` is field 22 of /proc/<pid>/stat: psutil tells that time by the wall clock, which can be set. `machine`
    is the boot and the namespace in which the pid means something. `mark` is in the environment of the process and of
    all that it starts, `cwd` where it runs: by one of them a member of its group is known for ours. `shared` names the
    commands that use it (`shared_servers`): it lives on when its owner ends.
    """

    name: str
    pid: int
    start_ticks: int
    owner_pid: int
    owner_ticks: int
    kept: bool
    stop_signal: int
    machine: str = ""
    mark: str = ""
    cwd: str = ""
    shared: str = ""


class ProcessRegistry:
    """The processes of one checkout, a JSON file each in `folder` (mode 0700)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: pwd.struct_passwd | None = None,
        kept: bool = False,
        shared: str = "",
        stop_signal: signal.Signals = signal.SIGTERM,
        cwd: Path | None = None,
    ) -> ProcessRecord:
        """Start `argv` in a session of its own, stdout and stderr to `log`, and record it.

        A process that is neither `kept` nor `shared` also gets `stop_signal` from the kernel when its owner dies.
        Raises ServerError where the program cannot be executed.
        """
        libc = ctypes.CDLL(None, use_errno=True)

        def die_with_owner() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)

        mark = secrets.token_hex(8)
        with deferred_signals(), _private(log) as output:
            try:
                child = subprocess.Popen(
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**child_environment(env), _MARK: mark},
                    user=user.pw_uid if user else None,
                    group=user.pw_gid if user else None,
                    extra_groups=[] if user else None,
                    cwd=cwd,
                    start_new_session=True,
                    # only prctl runs between fork and exec, so threads of the parent do not matter
                    preexec_fn=None if kept or shared else die_with_owner,
                )
            except OSError as error:
                raise ServerError(f"cannot start {name}: {argv[0]}: {error.strerror}") from None
            record = ProcessRecord(
                name=name,
                pid=child.pid,
                start_ticks=start_ticks(child.pid) or 0,
                owner_pid=os.getpid(),
                owner_ticks=start_ticks(os.getpid()) or 0,
                kept=kept,
                stop_signal=int(stop_signal),
                machine=this_machine(),
                mark=mark,
                cwd=str(cwd) if cwd is not None else "",
                shared=shared,
            )
            self._path(record).write_text(json.dumps(asdict(record)))
            # its end is looked for by its number: the object would warn that it still runs
            child.returncode = 0
        return record

    def keep(self, record: ProcessRecord) -> None:
        """Let a process stay up after every command, until somebody stops it."""
        partial = self._path(record).with_suffix(".partial")
        partial.write_text(json.dumps(asdict(replace(record, kept=True, shared=""))))
        partial.rename(self._path(record))

    def forget(self, record: ProcessRecord) -> None:
        """Take a record away, whatever its process does. Idempotent."""
        self._path(record).unlink(missing_ok=True)

    def _path(self, record: ProcessRecord) -> Path:
        return self.folder / f"{record.name}.{record.pid}.json"

    def records(self) -> list[ProcessRecord]:
        """All recorded processes, alive or not; unreadable files (cut short by a kill) are skipped."""
        records = []
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(ValueError, TypeError, OSError):
                records.append(ProcessRecord(**json.loads(path.read_text())))
        return records

    def stop(self, record: ProcessRecord, grace_s: float = 20.0) -> None:
        """End the process and its children: stop_signal, then SIGKILL after `grace_s`. Idempotent.

        A record of another boot, or of another container, is only removed: its numbers are somebody else's here. The
        same holds for a group's members, which are ended one by one, each proven ours.
        """
        killed = False
        if is_alive(record):
            _signal(record.pid, record.stop_signal)
            if not _wait_gone(record, grace_s):
                killed = True
                _signal(record.pid, signal.SIGKILL)
                _wait_gone(record, 5.0)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(record.pid, os.WNOHANG)
        deadline = time.monotonic() + 2.0
        # who was killed took no lock of its number away
        while ((left := members(record)) or (killed and is_zombie(record))) and time.monotonic() < deadline:
            for pid in left:  # a leader that ended may leave children
                _signal(pid, signal.SIGKILL)
            time.sleep(0.01)
        self.forget(record)

    def stop_own(self, last: Sequence[str] = ()) -> None:
        """End every process that this one started alone for itself; those named in `last` at the end."""
        own = [record for record in self.records() if record.owner_pid == os.getpid() and not _outlives(record)]
        for record in in_stopping_order(own, last):
            self.stop(record)

    def end_leftovers(self) -> list[ProcessRecord]:
        """End every recorded process whose owner is dead and that nobody asked to keep; return them."""
        ended = []
        for record in self.records():
            owner_lives = start_ticks(record.owner_pid) == record.owner_ticks
            if not is_alive(record):
                self.stop(record)
            elif not _outlives(record) and not owner_lives:
                self.stop(record)
                ended.append(record)
        return ended


def _outlives(record: ProcessRecord) -> bool:
    """Whether it goes on when the command that started it ends."""
    return record.kept or bool(record.shared)


def _private(log: Path) -> BinaryIO:
    """A log that only its owner reads: statements in it hold people's values."""
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def in_stopping_order(records: Sequence[ProcessRecord], last: Sequence[str]) -> list[ProcessRecord]:
    """Users before what they use: the processes named in `last` come last, in that order."""
    return sorted(records, key=lambda record: last.index(record.name) if record.name in last else -1)


def start_ticks(pid: int) -> int | None:
    """Start time of `pid` in clock ticks since boot, or None where there is none or it is a zombie."""
    fields = _stat(Path(f"/proc/{pid}"))
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def _stat(place: Path) -> list[str]:
    """The fields of a process's /proc/<pid>/stat from the third, its state, on; none where there is none."""
    try:
        return (place / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def has_ended(record: ProcessRecord) -> bool:
    """Whether a child of this process has ended; it is then gone for good, and no zombie."""
    if not is_alive(record):
        return True
    try:
        return os.waitpid(record.pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def is_alive(record: ProcessRecord) -> bool:
    """Whether the very process of the record (not another one with its pid) still runs."""
    return record.machine == this_machine() and start_ticks(record.pid) == record.start_ticks


@functools.cache
def this_machine() -> str:
    """The boot and the pid namespace that this process lives in."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + os.readlink("/proc/self/ns/pid")


def members(record: ProcessRecord) -> list[int]:
    """Processes of a record's group that are ours: they carry its mark, or run where it did."""
    if record.machine != this_machine() or not record.mark:
        return []
    pids = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile, or is another user's
                fields = _stat(place)
                if fields and fields[0] not in "ZX" and int(fields[2]) == record.pid and _is_ours(place, record):
                    pids.append(int(place.name))
    return pids


def is_zombie(record: ProcessRecord) -> bool:
    """Whether it has ended and its parent, by now init, has not looked yet: its number is in use until then.

    Some inits look every few seconds, and a container's may never.
    """
    fields = _stat(Path(f"/proc/{record.pid}")) if record.machine == this_machine() else []
    return bool(fields) and fields[0] in "ZX" and int(fields[19]) == record.start_ticks


def _is_ours(place: Path, record: ProcessRecord) -> bool:
    if f"{_MARK}={record.mark}".encode() in (place / "environ").read_bytes().split(b"\0"):
        return True
    # PostgreSQL's own write their titles over their environment
    return bool(record.cwd) and Path(os.readlink(place / "cwd")).is_relative_to(record.cwd)


def tail(log: Path, lines: int = 1) -> str:
    """The last non-empty lines of a log, for an error message."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - 8192))
            text = handle.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait_gone(record: ProcessRecord, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(record.pid, os.WNOHANG)
        if not is_alive(record):
            return True
        time.sleep(0.02)  # there is no portable wait for a process that is not our child
    return False
