"""Distances put into a connection are found at their size, and decide where a claim holds."""

from __future__ import annotations

import pytest

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import LabError
from archzero_lab.jobs.studies import self_check
from archzero_lab.jobs.studies.self_check import run_self_check
from archzero_lab.jobs.studies.sweep import holds_from, run_sweep
from archzero_lab.postgres.connection import connect
from archzero_lab.run_folders.margins import MARGINS, margins
from archzero_lab.servers.hurt import Relay
from archzero_lab.servers.stack import Stack

pytestmark = pytest.mark.once

FAR_MS = 40


def test_a_card_s_detail_gains_more_from_the_cache_the_farther_the_database_is(stack: Stack) -> None:
    cells = run_sweep(system_here(), stack, [1_000], [0, FAR_MS], [0], only=("card_detail_cached",), blocks=3)
    near, far = cells.sort_values("database_ms").to_dict("records")
    assert far["improvement"] > near["improvement"]
    assert far["before_ms"] > FAR_MS
    assert far["after_ms"] < FAR_MS, "a hit does not go to the database"
    assert {"confirmed", "refuted", "inconclusive"} >= set(cells["verdict"])
    assert holds_from(cells.assign(verdict="refuted"), "card_detail_cached") == "nowhere that was measured"
    held = holds_from(cells.assign(verdict="confirmed"), "card_detail_cached")
    assert held.startswith("from 1,000 rows at 0 ms to PostgreSQL, 0 ms to Redis; from 1,000 rows at 40 ms")


def test_a_sweep_of_what_is_no_latency_is_refused(stack: Stack) -> None:
    with pytest.raises(LabError, match="nothing to sweep"):
        run_sweep(system_here(), stack, [1_000], [0], [0], only=("index_overhead",))


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


def test_delays_that_were_put_in_are_found_and_taken_out_of_the_relay_they_are_not(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the delay between the two is far beyond what a busy machine adds to one of two arms."""
    monkeypatch.setattr(self_check, "DELAYS_MS", {"PostgreSQL": 10.0, "Redis": 10.0})
    found = run_self_check(system_here(), stack, blocks=6, rows=500)
    plain = Relay.set
    monkeypatch.setattr(Relay, "set", lambda self, **_: plain(self, delay_ms=0.0))
    without = run_self_check(system_here(), stack, blocks=6, rows=500)
    assert [delay.where for delay in found.delays] == ["PostgreSQL", "Redis"]
    for there, gone in zip(found.delays, without.delays, strict=True):
        assert there.ci_low_ms <= there.found_ms <= there.ci_high_ms
        assert there.found_ms - gone.found_ms > there.added_ms / 2
    assert all(item.margin >= 0.01 for item in found.same)
    kept = margins(path=MARGINS)
    assert kept == {f"{item.operation} {item.metric}": item.margin for item in without.same}
