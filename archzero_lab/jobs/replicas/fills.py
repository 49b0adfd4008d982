"""Cache fills from a lagging replica: what a program writes to Redis with stale values in it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import redis

from archzero_lab.jobs.replicas.relays import Seen

_WRITES = frozenset({"SET", "SETEX", "PSETEX", "GETSET", "HSET", "HMSET", "MSET", "JSON.SET", "RPUSH", "LPUSH", "SADD"})
_SOON_S = 2.0
"""After a stale read: what is filled later has most likely been read again since."""
_SHORTEST = 2
"""Bytes of a cell by which a value is known; a single digit is in every text."""


class Fills:
    """Watches a Redis by MONITOR; a context manager, with a thread of its own. A fill is noted at the last
    stale read that it can be of."""

    def __init__(self, url: str, seen: Seen) -> None:
        self._url = url
        self._seen = seen
        self._ready = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Fills:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        with suppress(redis.RedisError):  # a last command, for the watcher to hear
            redis.Redis.from_url(self._url).ping()
        self._thread.join(10)

    def _watch(self) -> None:
        client = redis.Redis.from_url(self._url)
        with client.monitor() as monitor:
            self._ready.set()
            for command in monitor.listen():
                if self._over.is_set():
                    return
                self._note(str(command["command"]))

    def _note(self, command: str) -> None:
        word, _, rest = command.partition(" ")
        if word.upper() not in _WRITES:
            return
        key, _, value = rest.partition(" ")
        now = time.monotonic()
        for read in reversed(self._seen.stale):
            if now - read.at > _SOON_S:
                return
            texts = [cell.decode("utf-8", "replace") for cell in read.cells if len(cell) >= _SHORTEST]
            if any(text in value for text in texts):
                if key not in read.filled:
                    read.filled.append(key)
                return
