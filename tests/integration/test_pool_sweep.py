"""The pool sweep on real servers: who waits for a connection, who waits for a core, and where the knee is."""

from __future__ import annotations

import pandas as pd
import pytest

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import LabError
from archzero_lab.jobs.studies.pool_sweep import formula, knees, sweep_pool
from archzero_lab.jupyter.pool import PoolSweep
from archzero_lab.servers.stack import Stack

pytestmark = pytest.mark.once


def test_a_crowd_waits_for_a_small_pool_and_its_connections_are_all_at_work(stack: Stack) -> None:
    rounds = sweep_pool(system_here(), stack, [1, 8], [1, 12], rows=1_000, seconds=0.5, rounds=3)
    # of three rounds the middle one: a machine that stops for a second spoils one
    frame = rounds.groupby(["users", "size"], as_index=False).median(numeric_only=True)
    assert len(frame) == 4
    assert (frame["throughput_per_s"] > 0).all()
    assert (frame["p95_ms"] >= frame["mean_ms"] * 0.5).all()
    assert (frame["refused_per_min"] == 0).all()
    cell = frame.set_index(["users", "size"])
    # twelve users and one connection: each waits for others to be done with it
    assert cell.loc[(12, 1), "acquire_wait_s"] > cell.loc[(12, 1), "held_s"]
    assert cell.loc[(12, 8), "acquire_wait_s"] < cell.loc[(12, 1), "acquire_wait_s"]
    assert cell.loc[(1, 8), "acquire_wait_s"] < cell.loc[(12, 1), "acquire_wait_s"]
    assert cell.loc[(12, 1), "active_backends"] <= 1.05
    assert cell.loc[(12, 8), "active_backends"] > cell.loc[(12, 1), "active_backends"]
    shown = PoolSweep(rounds)
    assert "the knee of" in repr(shown.figure())
    assert list(shown.against_claims().index) == [1, 12, "phase 5, after"]


def test_the_knee_is_the_smallest_pool_near_the_best() -> None:
    rates = {1: [50.0, 52.0, 51.0], 5: [96.0, 95.0, 97.0], 15: [99.0, 100.0, 98.0], 50: [80.0, 85.0, 82.0]}
    rows = [
        {"users": 50, "size": size, "round": number, "throughput_per_s": rate}
        for size, values in rates.items()
        for number, rate in enumerate(values)
    ]
    found = knees(pd.DataFrame(rows)).loc[50]
    assert (found["knee"], found["best_size"], found["best_per_s"]) == (5, 15, 99.0)
    assert formula(cores=2) == 5


def test_no_size_and_no_user_is_told(stack: Stack) -> None:
    with pytest.raises(LabError, match="at least one each"):
        sweep_pool(system_here(), stack, [0], [1])
