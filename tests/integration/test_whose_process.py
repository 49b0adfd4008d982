"""Whose process it is: a record's numbers may be a stranger's by now, and a stranger is never ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from archzero_lab.servers.process import ProcessRegistry, is_alive, members, start_ticks

pytestmark = pytest.mark.once

FORKS = (
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "time.sleep(600)"
)


@pytest.fixture
def stranger() -> Iterator[tuple[int, psutil.Process]]:
    """A process group whose leader is gone and that has a member: its number, and the member."""
    leader = subprocess.Popen(
        ["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    out, _ = leader.communicate()
    member = psutil.Process(int(out))
    yield leader.pid, member
    if member.is_running():
        member.kill()


def test_a_stranger_that_has_a_record_s_number_lives(tmp_path: Path, stranger: tuple[int, psutil.Process]) -> None:
    number, member = stranger
    registry = ProcessRegistry(tmp_path / "run")
    ours = registry.spawn("ours", [sys.executable, "-c", "pass"], log=tmp_path / "log")
    record = replace(ours, pid=number, start_ticks=4242, owner_pid=999_999, owner_ticks=1)
    registry.stop(ours)
    assert os.getpgid(member.pid) == number
    registry.stop(record)
    assert member.is_running()
    assert member.status() != psutil.STATUS_ZOMBIE
    registry.stop(replace(record, mark="", machine=""))  # as one that an older version wrote
    assert member.is_running()


def test_a_record_of_another_boot_or_container_is_only_removed(tmp_path: Path) -> None:
    registry = ProcessRegistry(tmp_path / "run")
    record = registry.spawn("ours", [sys.executable, "-c", "import time; time.sleep(600)"], log=tmp_path / "log")
    try:
        registry.stop(replace(record, machine="another boot"))
        assert is_alive(record)
        assert registry.records() == []
    finally:
        registry.stop(record)
    assert not is_alive(record)


def test_what_a_dead_leader_left_of_ours_is_ended(tmp_path: Path) -> None:
    registry = ProcessRegistry(tmp_path / "run")
    record = registry.spawn("forks", [sys.executable, "-c", FORKS], log=tmp_path / "log")
    deadline = time.monotonic() + 60
    while len(mine := members(record)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(record.pid, signal.SIGKILL)
    os.waitpid(record.pid, 0)
    assert [pid for pid in mine if start_ticks(pid) is not None] == [pid for pid in mine if pid != record.pid]
    registry.stop(record)
    assert all(start_ticks(pid) is None for pid in mine)
