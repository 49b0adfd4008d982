"""What a hit costs is charged to layers, from the processes' own clocks."""

from __future__ import annotations

import pytest

from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.arms import ServiceArm
from archzero_lab.systems.arczero.hit_costs import LAYERS, hit_costs
from archzero_lab.systems.arczero.services import Serving, start_service
from archzero_lab.systems.operations import Operation

pytestmark = pytest.mark.once


@pytest.mark.parametrize("cached", [True, False])
def test_a_hit_is_charged_to_layers_and_what_is_none_is_not(stack: Stack, database_url: str, cached: bool) -> None:
    service = start_service(stack, Serving("costed", database_url, cached=cached))
    arm = ServiceArm("costed", service, database_url, cached=cached, admin_token=stack.settings.admin_token)
    try:
        assert stack.redis_pid is not None
        lists = [Operation(f"/api/v1/cards?page={page}", "list", b"totalRelation") for page in range(1, 4)]
        costs = hit_costs(arm, stack.redis_pid, lists)
        if not cached:
            assert costs == {}, "what no cache answered is no hit"
            return
        assert set(costs) == set(LAYERS)
        assert all(microseconds >= 0 for microseconds in costs.values())
        # one request at a time: a kernel cannot answer one in a microsecond, nor can Redis look for one in none
        assert costs["sockets"] + costs["loop"] > 1
        assert costs["redis"] > 0
        assert costs["cache"] > 0
    finally:
        arm.close()
        stack.registry.stop(service.record)
