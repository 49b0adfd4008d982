"""Distances put into a connection are found at their size, and decide where a claim holds."""

from __future__ import annotations

import pytest

from archzero_lab.errors import LabError
from archzero_lab.jobs.studies.self_check import run_self_check
from archzero_lab.jobs.studies.sweep import holds_from, run_sweep
from archzero_lab.postgres.connection import connect
from archzero_lab.servers.hurt import Relay
from archzero_lab.servers.stack import Stack
from archzero_lab.stats.verdict import Change

pytestmark = pytest.mark.alone


def test_a_card_s_detail_gains_more_from_the_cache_the_farther_the_database_is(stack: Stack) -> None:
    cells = run_sweep(stack, [1_000], [0, 3], [0], only=("card_detail_cached",), blocks=6)
    near, far = cells.sort_values("database_ms").to_dict("records")
    assert far["improvement"] > near["improvement"] + 0.2
    assert far["before_ms"] - near["before_ms"] > 3
    assert abs(far["after_ms"] - near["after_ms"]) < 3, "a hit does not go to the database"
    assert {"confirmed", "refuted", "inconclusive"} >= set(cells["verdict"])
    assert holds_from(cells.assign(verdict="refuted"), "card_detail_cached") == "nowhere that was measured"
    held = holds_from(cells.assign(verdict="confirmed"), "card_detail_cached")
    assert held.startswith("from 1,000 cards at 0 ms to PostgreSQL, 0 ms to Redis; from 1,000 cards at 3 ms")


def test_a_sweep_of_what_is_no_latency_is_refused(stack: Stack) -> None:
    with pytest.raises(LabError, match="nothing to sweep"):
        run_sweep(stack, [1_000], [0], [0], only=("index_overhead",))


def test_what_is_sent_before_the_relay_has_reached_its_target_is_not_lost(stack: Stack) -> None:
    relay = Relay(stack, stack.postgres_url, "early")
    try:
        for delay_ms in (0.0, 3.0):
            relay.set(delay_ms=delay_ms)
            for _ in range(20):
                with connect(relay.url) as connection:
                    assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        relay.close()


def test_the_lab_finds_no_difference_where_there_is_none_and_the_delays_that_were_put_in(stack: Stack) -> None:
    """The small self-check; a machine that is busy just now may have two more tries, as a person would give it."""
    for _ in range(3):
        found = run_self_check(stack, blocks=8)
        if found.trustworthy:
            break
    assert [delay.where for delay in found.delays] == ["PostgreSQL", "Redis"]
    for delay in found.delays:
        assert delay.right, delay
        assert delay.ci_low_ms <= delay.found_ms <= delay.ci_high_ms
    assert {item.found for item in found.same} <= {Change.EQUIVALENT, Change.INCONCLUSIVE}
    assert all(item.margin >= 0.01 for item in found.same)


def test_a_delay_that_is_not_there_is_not_found(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken out of the relay, it must make the self-check fail."""
    plain = Relay.set
    monkeypatch.setattr(Relay, "set", lambda self, **_: plain(self, delay_ms=0.0))
    found = run_self_check(stack, blocks=6)
    assert not any(delay.right for delay in found.delays)
    assert not found.trustworthy
