"""How reads scale: costs that were measured, claims that know what they need."""

from __future__ import annotations

import psutil
import pytest

from archzero_lab.jobs.studies.scaling import CLAIMS, study_scaling
from archzero_lab.servers.stack import Stack
from archzero_lab.stats.verdict import Verdict
from archzero_lab.systems.arczero.scaled_cards import ScaledCards

pytestmark = pytest.mark.once


def test_without_cores_a_claim_is_inconclusive_and_says_what_it_needs_and_costs_are_measured(stack: Stack) -> None:
    study = study_scaling(ScaledCards(), stack, seconds=0.5, rounds=1, cores=2)
    assert [one.verdict for one in study.claims] == [Verdict.INCONCLUSIVE] * len(CLAIMS)
    assert study.claims[1].why == "no cores to scale on: 3 servers and their clients need 6, 2 are here"
    assert study.costs.read > 0
    assert study.costs.write > 0
    readers = {(one.replicas, one.server) for one in study.checked if one.reads}
    assert readers == {(0, "primary"), (1, "replica 1"), (2, "replica 1"), (2, "replica 2")}
    assert all(one.writes > 0 for one in study.checked)
    assert all(one.predicted_s > 0 for one in study.checked if one.reads)


@pytest.mark.skipif(not hasattr(psutil.Process, "cpu_affinity"), reason="this system gives no server a core")
def test_with_cores_enough_every_claim_is_measured_and_one_round_judges_none(stack: Stack) -> None:
    study = study_scaling(ScaledCards(), stack, seconds=0.2, rounds=1, cores=64)
    assert all(one.ratio is not None and one.ratio.estimate > 0 for one in study.claims)
    assert {one.verdict for one in study.claims} == {Verdict.INCONCLUSIVE}
    assert not any(one.why for one in study.claims)
