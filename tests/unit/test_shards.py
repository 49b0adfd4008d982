"""A Cluster's client: what it does where a script is not known, and where nobody takes its text."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from archzero_lab.systems.arczero.cache.shards import Address, Shards, SlotMap


class Node:
    """Knows no script until it has been told its text, which it takes or not."""

    def __init__(self) -> None:
        self.takes, self.knows = False, False

    async def execute_command(self, *args: Any, **_: Any) -> Any:
        """As redis-py's client has it."""
        if args[0] == "SCRIPT LOAD":
            if not self.takes:
                raise RedisConnectionError("away")
            self.knows = True
            return "the name"
        if not self.knows:
            raise NoScriptError
        return args[1]


async def test_a_script_whose_text_nobody_took_is_told_and_works_once_somebody_does() -> None:
    node, place = Node(), ("127.0.0.1", 1)

    def open_node(address: Address) -> Any:
        return node

    slots = SlotMap([place], open_node, 1.0, lambda: None)
    slots.ranges = ((0, 16_383, place),)
    script = Shards(slots, open_node).register_script("return 1")
    with pytest.raises(RedisConnectionError):
        await script(keys=["a"], args=[])
    node.takes = True
    assert await script(keys=["a"], args=[]) == "the name"
