"""What more replicas would carry, from CPU times: what each is short of, and when a further one brings nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.jobs.studies.scaling_calculation import Assumptions, most_requests
from archzero_lab.jobs.studies.scaling_costs import Costs

COSTS = Costs(read=1e-3, write=2e-4, replay=5e-5, send=2e-5, poll=1e-4, idle=0.0)
ONLY_READS = Assumptions(cores=1.0, writes=0.0, on_primary=0.0, polls=0.0)


def test_reads_alone_grow_with_each_replica() -> None:
    assert most_requests(COSTS, 0, ONLY_READS).per_s == pytest.approx(1_000)
    assert most_requests(COSTS, 4, ONLY_READS).per_s == pytest.approx(4_000)
    assert most_requests(COSTS, 4, ONLY_READS).short == "replicas"


def test_what_the_primary_answers_all_the_same_bounds_it() -> None:
    assumed = replace(ONLY_READS, on_primary=0.1)
    assert most_requests(COSTS, 64, assumed).per_s == pytest.approx(10_000)
    assert most_requests(COSTS, 64, assumed).short == "primary"


def test_replay_is_one_process_however_many_cores_a_replica_has() -> None:
    assumed = replace(ONLY_READS, cores=64.0, writes=1.0)
    carried = most_requests(replace(COSTS, write=0.0, send=0.0), 1, assumed)
    assert (carried.per_s, carried.short) == (pytest.approx(20_000), "replay")


@given(
    st.integers(0, 64), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.99),
    st.floats(1e-5, 1e-2), st.floats(0, 1e-3),
)  # fmt: skip
def test_no_server_needs_more_cpu_time_than_it_has(
    replicas: int, writes: float, on_primary: float, hits: float, read: float, write: float
) -> None:
    costs = replace(COSTS, read=read, write=write)
    assumed = Assumptions(cores=2.0, writes=writes, on_primary=on_primary, hits=hits)
    per_s = most_requests(costs, replicas, assumed).per_s
    reads = per_s * (1 - writes) * (1 - hits)
    looks = per_s / assumed.per_process * assumed.polls * costs.poll if replicas else 0.0
    mine = reads * (on_primary if replicas else 1.0)
    primary = mine * read + per_s * writes * (write + replicas * costs.send) + looks
    assert primary <= 2.0 * (1 + 1e-9)
    if replicas:
        replica = (reads - mine) / replicas * read + per_s * writes * costs.replay + looks
        assert replica <= 2.0 * (1 + 1e-9)
