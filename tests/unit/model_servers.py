"""Servers of a Cluster as a test has them: what each holds, and what heartbeats ask of it."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from archzero_lab.systems.arczero.cache.script_calls import new_generation


class Clock:
    """Monotonic time."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Node:
    """A server: what it holds, each with until when."""

    def __init__(self, clock: Clock, shard: int, data: dict[str, tuple[Any, float]]) -> None:
        self._clock = clock
        self.shard, self.data, self.is_up = shard, dict(data), True
        self.run_id, self.replication_id = new_generation(), new_generation()

    def get(self, name: str) -> Any:
        value, until = self.data.get(name, (None, 0.0))
        return value if self._clock.now < until else None

    def set(self, name: str, value: Any, px: int = 0) -> None:
        self.data[name] = (value, self._clock.now + px / 1_000 if px else float("inf"))


class Pipeline:
    """Commands of one node, done together."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._answers: list[Any] = []

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    def evalsha(self, *_: Any) -> None:
        self._answers.append(1)

    def info(self, section: str) -> None:
        node = self._node
        told = {"run_id": node.run_id, "redis_version": "7.0.0"}
        self._answers.append(told if section == "server" else {"role": "master", "master_replid": node.replication_id})

    def get(self, name: str) -> None:
        self._answers.append(self._node.get(name))

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        return self._answers


class Client:
    """Of one node, by one process."""

    def __init__(self, node: Node, is_reached: bool) -> None:
        self._node, self._is_reached = node, is_reached

    def pipeline(self, transaction: bool) -> Pipeline:
        if not self._is_reached:
            raise RedisConnectionError("away")
        return Pipeline(self._node)
