"""A Redis Cluster of three masters with a follower each, of an experiment's own, whose nodes are hurt."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import redis

from archzero_lab.errors import ServerError
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.redis_node import DOWN_MS, RedisNode, wait_until
from archzero_lab.servers.stack import Stack


class ClusterGroup:
    """A Cluster of three masters with a follower each. Raises ServerError where they do not find each other."""

    def __init__(self, stack: Stack) -> None:
        password = uuid.uuid4().hex
        self.nodes: list[RedisNode] = []
        self._password = password
        try:
            for _ in range(6):
                config = [
                    "cluster-enabled yes", "cluster-config-file nodes.conf", f"cluster-port {free_port()}",
                    f"cluster-node-timeout {DOWN_MS}", "cluster-require-full-coverage no",
                    "cluster-replica-validity-factor 0", "masteruser follower", f"masterauth {password}",
                    f"user follower on >{password} +psync +replconf +ping",
                    # the lab says who follows whom
                    "cluster-allow-replica-migration no",
                ]  # fmt: skip
                self.nodes.append(RedisNode(stack, password, config))
            self._meet()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Of all nodes: whichever lives tells of the others."""
        places = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://:{self._password}@{places}"

    def masters(self) -> list[RedisNode]:
        """Those that hold slots now."""
        return [node for node in self.nodes if node.is_up() and self._role(node) == "master"]

    def follower_of(self, master: RedisNode) -> RedisNode:
        """Raises ServerError where it has none."""
        for node in self.nodes:
            if node is not master and node.is_up():
                told = node.ask(lambda client: client.info("replication"))
                if told["role"] == "slave" and int(told["master_port"]) == master.port:
                    return node
        raise ServerError("this master has no follower")

    def cut_off(self, master: RedisNode) -> None:
        """Its follower hears nothing of it any more, until it is started again."""
        master.refuse(("follower",))

    def wait_for_another_than(self, before: RedisNode) -> None:
        """Return when three others lead. Raises ServerError in the end."""
        others = [node for node in self.nodes if node is not before]
        wait_until(lambda: sum(self._role(node) == "master" for node in others) == 3, "a follower has taken over")

    def wait_until_whole(self) -> None:
        """Return when every node knows that all slots are served and each master is followed. Raises ServerError."""
        wait_until(self._is_whole, "the Cluster is whole")

    def _is_whole(self) -> bool:
        for node in self.nodes:
            told = node.ask(lambda client: client.cluster("INFO"))
            if told["cluster_state"] != "ok" or told["cluster_slots_ok"] != "16384" or told["cluster_size"] != "3":
                return False
            if told["cluster_known_nodes"] != "6":
                return False
        followed = [node.ask(lambda client: client.info("replication")) for node in self.nodes]
        up: int = sum(told["role"] == "slave" and told["master_link_status"] == "up" for told in followed)
        return up == 3

    def _role(self, node: RedisNode) -> str:
        with suppress(redis.RedisError):
            return str(node.ask(lambda client: client.info("replication"))["role"])
        return ""

    def _meet(self) -> None:
        bounds = [0, 5461, 10923, 16384]
        for node, low, high in zip(self.nodes, bounds, bounds[1:], strict=False):
            node.ask(_command("CLUSTER", "ADDSLOTSRANGE", low, high - 1))
        for node in self.nodes[1:]:
            bus = int(node.ask(lambda client: client.config_get("cluster-port"))["cluster-port"])
            self.nodes[0].ask(_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus))
        ids = [node.ask(_command("CLUSTER", "MYID")).decode() for node in self.nodes]
        for node, master in zip(self.nodes[3:], ids[:3], strict=True):
            wait_until(partial(_follows, node, master), "a follower knows its master")
        self.wait_until_whole()

    def close(self) -> None:
        """Stop all, and remove what they kept."""
        for node in self.nodes:
            node.close()


def _follows(node: RedisNode, master: str) -> bool:
    return bool(node.ask(_command("CLUSTER", "REPLICATE", master)))


def _command(*words: str | int) -> Callable[[Any], Any]:
    return lambda client: client.execute_command(*words)
