"""verify-failover with a Redis of several servers: one that takes over is met, and nothing is found."""

from __future__ import annotations

import pytest

from archzero_lab.errors import UnknownNameError
from archzero_lab.jobs.consistency.failover import verify_failover
from archzero_lab.jobs.consistency.failover_redis import MASTER_PAUSED, SHARD_ALONE
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.consistency.failover_cards import CardFailovers

pytestmark = pytest.mark.once


@pytest.mark.parametrize(("redis", "kind"), [("sentinel", MASTER_PAUSED), ("cluster", SHARD_ALONE)])
def test_a_redis_that_is_taken_over_loses_and_shows_nothing_old(stack: Stack, redis: str, kind: str) -> None:
    result = verify_failover(CardFailovers(), stack, minutes=0.02, kinds=[kind], redis=redis)
    assert {what for _, what in result.faults} == {kind}
    assert result.verdict.reads > 0
    assert result.verdict.writes > 0
    assert not any(result.verdict.counts().values()), result.verdict.counts()


def test_a_kind_of_redis_and_a_fault_that_it_has_not_are_told(stack: Stack) -> None:
    with pytest.raises(UnknownNameError, match="kind of Redis"):
        verify_failover(CardFailovers(), stack, minutes=0.02, redis="three")
    with pytest.raises(UnknownNameError, match="fault"):
        verify_failover(CardFailovers(), stack, minutes=0.02, redis="sentinel", kinds=[SHARD_ALONE])
