"""Experiments take turns: those of one kernel, and those of other processes of the machine; saved ones are runs."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

import archzero_lab as lab
from archzero_lab.errors import LabError, SettingsError
from archzero_lab.experiments.turns import turn
from archzero_lab.jupyter.experiment import experiment
from archzero_lab.run_folders.finding import find_run
from archzero_lab.run_folders.series import compare_runs

_HOLDER = """
import sys
from archzero_lab.experiments.turns import turn
with turn("somebody's experiment"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_three_experiments_that_are_sent_at_once_never_measure_at_the_same_time() -> None:
    spans: list[tuple[float, float, int]] = []

    def arm(number: int) -> Callable[[], None]:
        def work() -> None:
            began = time.perf_counter()
            time.sleep(0.001)  # the work itself
            spans.append((began, time.perf_counter(), number))

        return work

    sent = [experiment(arm(number), arm(number), blocks=6, calls=10) for number in range(3)]
    lab.wait()
    assert all(not one.running for one in sent)
    spans.sort()
    owners = [owner for _, _, owner in spans]
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    # each has all of its calls before the next begins
    changes = sum(before != after for before, after in pairwise(owners))
    assert changes == 2


def test_an_experiment_waits_for_one_of_another_process_says_so_and_can_be_stopped_meanwhile() -> None:
    other = subprocess.Popen([sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "held\n"
        waiting, given_up = (experiment(lambda: None, lambda: None, blocks=6, calls=10) for _ in range(2))
        _until(lambda: f"waits for somebody's experiment (pid {other.pid})" in repr(waiting))
        _until(lambda: "waits for an experiment of this kernel" in repr(given_up))
        assert given_up.stop().wait().comparison is None
        with pytest.raises(LabError, match="nothing was measured"):
            given_up.save("nothing")
        assert waiting.running
        other.stdin.write("\n")
        other.stdin.flush()
        assert waiting.wait().comparison is not None
    finally:
        other.kill()
        other.communicate()


def test_a_turn_ends_with_its_holder_however_that_ends() -> None:
    with pytest.raises(ValueError, match="mine"), turn("one"):
        raise ValueError("mine")
    entered = threading.Event()

    def take() -> None:
        with turn("another"):
            entered.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert entered.wait(30)
    thread.join()


def test_a_saved_experiment_is_a_run_that_is_compared_with_another() -> None:
    first, second = (experiment(lambda: sum(range(2_000)), lambda: sum(range(100)), blocks=6, calls=20) for _ in "ab")
    runs = [find_run(str(one.save("sums"))) for one in (first, second)]
    assert runs[0].summary["own"]["verdict"] == first.verdict
    assert len(runs[0].samples) == 2 * 6 * 20
    rows = {(row.claim, row.arm): row for row in compare_runs(*runs) if row.metric == "p50"}
    assert set(rows) == {("sums", "control"), ("sums", "treatment")}
    with pytest.raises(SettingsError, match="is no name for a run"):
        first.save("../away")


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # polling: the condition has no event
