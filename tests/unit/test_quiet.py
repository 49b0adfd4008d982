"""Whether processes wait: what a count of work looks at before it believes that nothing is under way."""

from __future__ import annotations

import os
import subprocess
import sys

from archzero_lab.servers.quiet import is_waiting


def test_a_process_that_sleeps_waits_and_one_that_has_ended_does() -> None:
    sleeping = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        while not is_waiting([sleeping.pid]):
            assert sleeping.poll() is None
    finally:
        sleeping.kill()
        sleeping.wait()
    assert is_waiting([sleeping.pid]), "nothing of it is there any more"


def test_a_process_that_runs_does_not_wait() -> None:
    assert not is_waiting([os.getpid()])
