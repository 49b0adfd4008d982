"""One Redis of several that take over for each other, to be hurt: killed, stopped, there again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis

from archzero_lab.errors import ServerError
from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.servers.stack import Stack

_WHOLE_S = 60.0
DOWN_MS = 700
"""How long a master says nothing until it is taken for dead."""


class RedisNode(HurtRedis):
    """`follows` is the port of its master where it starts as a follower."""

    def __init__(self, stack: Stack, password: str, config: Sequence[str], follows: int | None = None) -> None:
        self._config = tuple(config)
        self.follow(follows)
        super().__init__(stack, password=password)

    def follow(self, port: int | None) -> None:
        """From its next start on it follows the one on this port, or nobody."""
        self.extra_config = (*self._config, *([f"replicaof 127.0.0.1 {port}"] if port else []))

    def ask(self, act: Callable[[Any], Any]) -> Any:
        """What a client of it gets. Raises redis.RedisError."""
        client = redis.Redis.from_url(self.server.url, socket_timeout=2, socket_connect_timeout=2)
        try:
            return act(client)
        finally:
            client.close()

    def refuse(self, users: Sequence[str]) -> None:
        """What these users have open is cut, and they are let in no more."""

        def leave(client: Any) -> None:
            for user in users:
                client.execute_command("ACL", "SETUSER", user, "off")
                client.execute_command("CLIENT", "KILL", "USER", user)

        self.ask(leave)

    def let_in(self, users: Sequence[str]) -> None:
        """They are let in again."""
        self.ask(lambda client: [client.execute_command("ACL", "SETUSER", user, "on") for user in users])

    @contextmanager
    def silent(self) -> Iterator[None]:
        """It says nothing for as long as the block runs, and knows nothing of what happens meanwhile."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        os.kill(self.server.record.pid, number)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Return when it holds; a server that does not answer yet is none. Raises ServerError in the end."""
    deadline = time.monotonic() + _WHOLE_S
    while True:
        with suppress(redis.RedisError, ServerError, OSError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise ServerError(f"within {_WHOLE_S:.0f} s it was not so that {what}")
        time.sleep(0.05)  # polling: they do not say when
