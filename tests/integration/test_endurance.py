"""A service of four workers under load, hurt from several sides; and each guard shown to be needed.

All sixteen faults, again and again for ten minutes, are `./lab verify-faults` in .ci/run.
"""

from __future__ import annotations

import pytest

from archzero_lab.errors import MeasurementError, UnknownNameError
from archzero_lab.jobs.consistency import attacks, endurance
from archzero_lab.jobs.consistency.endurance import verify_faults
from archzero_lab.jobs.consistency.faults_around import FAULTS
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.consistency.endured_cards import CardsEndure

pytestmark = pytest.mark.once

CARDS = CardsEndure()
SHOWN_BY = {"pool-limits": "locked", "large-rows": "large rows", "cut": "postgres swallowed"}
"""The fault that a guard is there for."""
SOME = ("worker killed", "redis killed", "slow")
"""One of each: what ends of the service and of its servers, and what clients do."""
ONCE = 0.01
"""Minutes that are over before each fault has been met once, which a run ends with in any case."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load has begun once it has been answered a few hundred times."""
    monkeypatch.setattr(endurance, "_WARM_S", 1.5)


def test_whatever_is_hurt_no_write_is_lost_no_read_stale_and_all_is_well_again(stack: Stack) -> None:
    found = verify_faults(CARDS, stack, minutes=ONCE, seed=1, kinds=SOME)
    assert found.broken == []  # how long others wait is the command's to say, on a machine of its own
    assert all(met.back_s < float("inf") for met in found.met)
    assert {met.fault for met in found.met} == set(SOME) <= set(FAULTS)
    assert found.left_out == {}
    assert len([write for write in found.recording.writes if not write.refused]) > 100
    assert len(found.recording.reads) > 100
    assert len(found.recording.made) > 10
    assert all(found.asked_in(met.fault) for met in found.met)


@pytest.mark.parametrize("guard", CARDS.guards)
def test_without_a_guard_something_does_not_hold(stack: Stack, guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endurance, "_GIVEN_UP_S", 2 * endurance.BACK_S)
    found = verify_faults(CARDS, stack, minutes=ONCE, without=(guard,), kinds=(SHOWN_BY[guard],))
    if found.slow_machine:
        pytest.skip("this machine is too slow to see whom the guard spares waiting")
    assert any(wait.startswith(SHOWN_BY[guard]) for wait in found.waits)


def test_an_attack_that_does_not_begin_ends_the_run_and_counts_as_no_fault_that_was_met(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacks, "command", lambda *given: ["sh", "-c", "cat > /dev/null"])
    with pytest.raises(MeasurementError, match="the attack 'slow' ended before it was under way"):
        verify_faults(CARDS, stack, minutes=ONCE, kinds=("slow",))


def test_an_unknown_guard_or_fault_is_named_with_the_known_ones(stack: Stack) -> None:
    with pytest.raises(UnknownNameError, match="unknown guard 'luck'; known: cut"):
        verify_faults(CARDS, stack, minutes=1, without=("luck",))
    with pytest.raises(UnknownNameError, match="unknown fault 'rain'; known: worker killed"):
        verify_faults(CARDS, stack, minutes=1, kinds=("rain",))
