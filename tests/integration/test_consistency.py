"""The harness over the whole cache: nothing older than acknowledged is read, and each guard is needed for that."""

from __future__ import annotations

import pytest

from archzero_lab.errors import UnknownNameError
from archzero_lab.jobs.consistency.faults import FAULTS
from archzero_lab.jobs.consistency.harness import verify_consistency
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.consistency.histories import CardHistories
from archzero_lab.systems.arczero.django_peers import DJANGO_PEERS
from archzero_lab.systems.arczero.peers import PEERS

HISTORIES = CardHistories()


def test_no_read_is_older_than_what_was_acknowledged_whatever_happens_to_redis(stack: Stack) -> None:
    result = verify_consistency(HISTORIES, stack, reads=12_000, seed=11)
    assert result.verdict.reads >= 12_000
    assert result.verdict.writes > 100
    assert {what for _, what in result.faults} == set(FAULTS)
    assert result.verdict.violations == []


def test_no_result_of_a_statement_is_older_than_what_was_acknowledged(stack: Stack) -> None:
    # plain SQL it does not see, and a Redis that restores older data it refuses: docs/result-cache.md
    kinds = ("pause short", "pause", "kill empty", "flush", "clients killed", "memory full", "too few replicas", "busy")
    result = verify_consistency(HISTORIES, stack, reads=6_000, seed=5, of="statement-cache", kinds=kinds)
    assert {what for _, what in result.faults} == set(kinds)
    assert result.verdict.writes > 20
    assert result.verdict.violations == []


SHOWN_BY = {
    "lease": ("pause short",),
    "fence": ("pause short",),
    "dependencies": ("pause short",),
    "sequence": ("pause short",),
    "outbox": ("sql",),
    "generation": ("sql of many",),
    "breaker-drain": ("pause", "clients killed", "kill old data"),
    "obeyed": ("too few replicas", "rights taken"),
    "moved": ("pause short",),
}
"""The faults that a guard is there for; `./lab verify-consistency --without` commits all."""


@pytest.mark.parametrize("guard", HISTORIES.guards)
def test_without_a_guard_the_harness_finds_violations(stack: Stack, guard: str) -> None:
    for seed in range(1, 31):
        found = verify_consistency(
            HISTORIES, stack, reads=6_000, seed=seed, without=(guard,), kinds=2 * SHOWN_BY[guard]
        )
        if found.verdict.violations:
            return
    pytest.fail(f"thirty rounds without {guard} and not one violation: the harness does not test it")


def test_of_a_thousand_reads_by_the_near_cache_one_at_most_is_staler_than_a_second(stack: Stack) -> None:
    kinds = ("pause", "kill empty", "flush", "clients killed", "demoted", "sql")
    verdict = verify_consistency(HISTORIES, stack, reads=10_000, seed=3, near=True, kinds=kinds).verdict
    assert verdict.violations == []
    assert verdict.nines()[1_000] > 0.999


def test_an_unknown_guard_is_named_with_the_known_ones(stack: Stack) -> None:
    with pytest.raises(UnknownNameError, match="unknown guard 'luck'; known: lease, fence"):
        verify_consistency(HISTORIES, stack, reads=1_000, without=("luck",))


@pytest.mark.once
@pytest.mark.parametrize("peer", [*PEERS, *DJANGO_PEERS])
def test_the_harness_finds_the_stale_reads_of_other_caches(stack: Stack, peer: str) -> None:
    """These caches are known to store what was read before a write."""
    for seed in range(1, 21):
        verdict = verify_consistency(
            HISTORIES, stack, reads=4_000, seed=seed, of=peer, kinds=("pause short", "pause")
        ).verdict
        assert verdict.writes > 20, "it works: it reads and writes"
        assert {violation.kind for violation in verdict.violations} <= {"stale", "back"}
        if verdict.late_ms:
            return
    pytest.fail(f"twenty rounds of {peer} and not one stale read")


def test_an_unknown_cache_is_named_with_the_known_ones(stack: Stack) -> None:
    with pytest.raises(UnknownNameError, match="unknown cache 'memcached'; known: cashews"):
        verify_consistency(HISTORIES, stack, reads=1_000, of="memcached")
