"""A Redis master with two followers behind three sentinels, of an experiment's own, whose nodes are hurt."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any, cast

import redis

from archzero_lab.errors import ServerError
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.private_files import given_folder, open_to_all, write_private
from archzero_lab.servers.process import ProcessRecord
from archzero_lab.servers.redis_node import DOWN_MS, RedisNode, wait_until
from archzero_lab.servers.server_home import server_home, server_user
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import STATE

_NAME, _OTHERS = "lab", ("follower", "watcher")


class SentinelGroup:
    """A master, two followers and three sentinels. Followers and sentinels are users of their own, so that a node can
    be cut off from them while its clients reach it. Raises ServerError where they do not find each other."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._password = stack, uuid.uuid4().hex
        self._home = open_to_all(server_home(STATE) / f"sentinels-{uuid.uuid4().hex[:8]}")
        self.nodes: list[RedisNode] = []
        self._sentinels: list[tuple[ProcessRecord, int]] = []
        config = [
            f"user follower on >{self._password} +psync +replconf +ping", "masteruser follower",
            f"masterauth {self._password}", f"user watcher on >{self._password} allchannels +@all",
        ]  # fmt: skip
        try:
            self.nodes.append(RedisNode(stack, self._password, config))
            for _ in range(2):
                self.nodes.append(RedisNode(stack, self._password, config, self.nodes[0].port))
            for number in range(3):
                self._start_sentinel(number)
            self.wait_until_whole()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """For a client that asks the sentinels."""
        places = ",".join(f"127.0.0.1:{port}" for _, port in self._sentinels)
        return f"redis+sentinel://:{self._password}@{places}/{_NAME}/0"

    def master(self) -> RedisNode:
        """The one that most sentinels name. Raises ServerError."""
        named: Counter[int] = Counter()
        for told in self._asked():
            named[int(told["port"])] += 1
        for port, times in named.items():
            if times >= 2:
                return next(node for node in self.nodes if node.port == port)
        raise ServerError("the sentinels do not agree on a master")

    def wait_for_another_than(self, before: RedisNode) -> None:
        """Return when most sentinels name another. Raises ServerError in the end."""
        wait_until(lambda: self.master() is not before, "another master is named")

    def cut_off(self, node: RedisNode) -> None:
        """Neither followers nor sentinels reach it any more; its clients do."""
        node.refuse(_OTHERS)

    def reach(self, node: RedisNode) -> None:
        """It is reached again."""
        node.let_in(_OTHERS)

    def bring_back(self, node: RedisNode) -> None:
        """One that led before follows who leads, at once: the sentinels take up to twenty seconds to say so."""
        port = self.master().port
        node.ask(lambda client: client.replicaof("127.0.0.1", port))

    def restart(self, node: RedisNode) -> None:
        """A node that was killed is there again, empty: a follower of who leads."""
        node.follow(self.master().port)
        node.start()

    def wait_until_whole(self) -> None:
        """Return when all follow, and every sentinel knows all others. Raises ServerError in the end."""
        wait_until(self._is_whole, "all of the group are in place")

    def _is_whole(self) -> bool:
        told = self._asked()
        master = self.master()
        return (
            len(told) == 3
            and all(one["flags"] == "master" and one["num-slaves"] == 2 and one["num-other-sentinels"] == 2
                    and int(one["port"]) == master.port for one in told)
            and master.ask(lambda client: client.info("replication"))["connected_slaves"] == 2
            and all(
                node.ask(lambda client: client.info("replication"))["master_link_status"] == "up"
                for node in self.nodes if node is not master
            )
        )  # fmt: skip

    def _asked(self) -> list[dict[str, Any]]:
        found = []
        for _, port in self._sentinels:
            client = redis.Redis(port=port, socket_timeout=1, socket_connect_timeout=1)
            with suppress(redis.RedisError):
                found.append(cast("dict[str, Any]", client.sentinel_master(_NAME)))
            client.close()
        return found

    def _start_sentinel(self, number: int) -> None:
        user = server_user()
        home = given_folder(self._home / f"sentinel-{number}", user)
        port, config = free_port(), home / "sentinel.conf"
        write_private(
            config,
            f"bind 127.0.0.1\nport {port}\ndir {home}\n"
            f"sentinel monitor {_NAME} 127.0.0.1 {self.nodes[0].port} 2\nsentinel auth-user {_NAME} watcher\n"
            f"sentinel auth-pass {_NAME} {self._password}\nsentinel down-after-milliseconds {_NAME} {DOWN_MS}\n"
            f"sentinel failover-timeout {_NAME} 3000\nsentinel parallel-syncs {_NAME} 2\n",
            user,
        )
        argv = [str(self.nodes[0].program), str(config), "--sentinel"]
        log = self._home / f"sentinel-{number}.log"
        self._sentinels.append(
            (self._stack.registry.spawn(f"sentinel-{number}", argv, log=log, user=user, cwd=home), port)
        )

    def close(self) -> None:
        """Stop all, and remove what they kept."""
        for record, _ in self._sentinels:
            self._stack.registry.stop(record)
        for node in self.nodes:
            node.close()
        shutil.rmtree(self._home, ignore_errors=True)
