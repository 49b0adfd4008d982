"""One command at a time: threads and other processes are refused, what a command does itself is let through."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from archzero_lab.errors import LabError
from archzero_lab.servers import exclusive as one_command
from archzero_lab.servers.exclusive import exclusive

ENTER = """
import sys, pathlib
from archzero_lab.servers import exclusive
exclusive.STATE = pathlib.Path(sys.argv[1])
exclusive._PART_OF_ONE = exclusive.os.environ.get(exclusive._HELD) == sys.argv[1]
try:
    with exclusive.exclusive("inner"):
        print("in")
except exclusive.LabError as refused:
    print(refused)
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(one_command, "STATE", tmp_path / "state")
    monkeypatch.setattr(one_command, "_PART_OF_ONE", False)
    monkeypatch.delenv(one_command._HELD, raising=False)
    return tmp_path / "state"


def _in_a_thread() -> str:
    told: list[str] = []

    def enter() -> None:
        try:
            with exclusive("other"):
                told.append("in")
        except LabError as refused:
            told.append(str(refused))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return told[0]


def test_a_second_thread_is_refused_by_the_name_of_the_first(state: Path) -> None:
    with exclusive("report"), exclusive("up"):
        assert "./lab report (pid" in _in_a_thread()
    assert _in_a_thread() == "in"


def test_a_process_started_by_the_holder_is_let_through_and_another_is_not(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", ENTER, str(state)]
    with exclusive("report"):
        assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "in"
        monkeypatch.delenv(one_command._HELD)
        assert "./lab report (pid" in subprocess.run(command, capture_output=True, text=True).stdout
