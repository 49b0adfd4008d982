"""The harness over the whole cache: nothing older than acknowledged is read, and each guard is needed for that."""

from __future__ import annotations

import pytest

from archzero_lab.errors import UnknownNameError
from archzero_lab.jobs.consistency.faults import FAULTS
from archzero_lab.jobs.consistency.harness import verify_consistency
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.consistency.histories import CardHistories

HISTORIES = CardHistories()


def test_no_read_is_older_than_what_was_acknowledged_whatever_happens_to_redis(stack: Stack) -> None:
    result = verify_consistency(HISTORIES, stack, reads=50_000, seed=11)
    assert result.verdict.reads >= 50_000
    assert result.verdict.writes > 100
    assert {what for _, what in result.faults} == set(FAULTS)
    assert result.verdict.violations == []


@pytest.mark.parametrize("guard", HISTORIES.guards)
def test_without_a_guard_the_harness_finds_violations(stack: Stack, guard: str) -> None:
    for seed in range(1, 9):
        if verify_consistency(HISTORIES, stack, reads=30_000, seed=seed, without=(guard,)).verdict.violations:
            return
    pytest.fail(f"eight rounds without {guard} and not one violation: the harness does not test it")


def test_of_a_thousand_reads_by_the_near_cache_one_at_most_is_staler_than_a_second(stack: Stack) -> None:
    verdict = verify_consistency(HISTORIES, stack, reads=20_000, seed=3, near=True).verdict
    assert verdict.violations == []
    assert verdict.nines()[1_000] > 0.999


def test_an_unknown_guard_is_named_with_the_known_ones(stack: Stack) -> None:
    with pytest.raises(UnknownNameError, match="unknown guard 'luck'; known: lease, fence"):
        verify_consistency(HISTORIES, stack, reads=1_000, without=("luck",))


@pytest.mark.parametrize("peer", HISTORIES.libraries)
def test_the_harness_finds_the_stale_reads_of_other_caches(stack: Stack, peer: str) -> None:
    verdict = verify_consistency(HISTORIES, stack, reads=10_000, of=peer).verdict
    assert verdict.writes > 50, "it works: it reads and writes"
    assert verdict.late_ms, "these caches are known to store what was read before a write"
    assert {violation.kind for violation in verdict.violations} <= {"stale", "back"}


def test_an_unknown_cache_is_named_with_the_known_ones(stack: Stack) -> None:
    with pytest.raises(UnknownNameError, match="unknown cache 'memcached'; known: cashews"):
        verify_consistency(HISTORIES, stack, reads=1_000, of="memcached")
