"""Looks at each server of a failover a few times a second: who leads, who follows and how far it is, who is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import psycopg

Role = Literal["leads", "follows", "away"]
_EVERY_S, _LATE_S = 0.2, 1.0
_WHERE = (
    "SELECT pg_is_in_recovery(), pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
    " ELSE pg_current_wal_lsn() END, '0/0')::bigint"
)


@dataclass(frozen=True, slots=True)
class Look:
    """What one server was at a moment (CLOCK_MONOTONIC); `lsn`: how far it has written or replayed, in bytes."""

    at_ns: int
    server: str
    role: Role
    lsn: int | None = None


class Looks:
    """A thread a server, since one that is stopped answers nobody until it goes on."""

    def __init__(self, servers: Mapping[str, Callable[[], str]]) -> None:
        self._over = threading.Event()
        self._seen: list[Look] = []  # append is atomic
        self._threads = [
            threading.Thread(target=self._look, args=(name, url), daemon=True) for name, url in servers.items()
        ]

    def start(self) -> None:
        """Begin to look."""
        for thread in self._threads:
            thread.start()

    def close(self) -> list[Look]:
        """Stop looking; what was seen, in the order of time. Who is stopped for good is not waited for."""
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2 * _LATE_S)
        return sorted(self._seen, key=lambda look: look.at_ns)

    def _look(self, name: str, url: Callable[[], str]) -> None:
        connection: psycopg.Connection | None = None
        while not self._over.is_set():
            asked_ns = time.monotonic_ns()
            try:
                if connection is None:
                    connection = psycopg.connect(url(), connect_timeout=2, autocommit=True)
                row = connection.execute(_WHERE).fetchone()
            except psycopg.Error:
                if connection is not None:
                    with suppress(psycopg.Error):
                        connection.close()
                connection = None
                self._seen.append(Look(asked_ns, name, "away"))
            else:
                now_ns = time.monotonic_ns()
                if now_ns - asked_ns > _LATE_S * 1e9:
                    self._seen.append(Look(asked_ns, name, "away"))
                if row is not None:
                    self._seen.append(Look(now_ns, name, "follows" if row[0] else "leads", row[1]))
            self._over.wait(_EVERY_S)
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()


def behind(looks: list[Look]) -> list[tuple[int, str, int]]:
    """Of each look at a follower: when, who, and how many bytes the leader was ahead when it was last looked at.

    Where two take writes, an old one that is left behind and the new one, it is the one that has written more.
    """
    found = []
    leading: dict[str, int] = {}
    for look in looks:
        if look.role != "leads":
            leading.pop(look.server, None)
        elif look.lsn is not None:
            leading[look.server] = look.lsn
        if look.role == "follows" and leading and look.lsn is not None:
            found.append((look.at_ns, look.server, max(0, max(leading.values()) - look.lsn)))
    return found
