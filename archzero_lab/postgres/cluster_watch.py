"""What one process knows of a primary and its replicas: who takes writes, how far each had replayed when asked last.

Each server is asked all the time, on a connection of its own. What it said is old, so it is used as what it is: by now
a replica has replayed at least that. Times are this process' monotonic seconds; no server's clock is looked at.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import LiteralString

import psycopg
from prometheus_client import Gauge
from psycopg.rows import TupleRow

from archzero_lab.errors import mask_secrets
from archzero_lab.postgres.cluster_nodes import NOT_ASKED, Node, Seen
from archzero_lab.postgres.deadline import cut_after
from archzero_lab.postgres.positions import Position
from archzero_lab.settings import ReplicaSettings

LAG = Gauge(
    "archzero_replica_lag_seconds", "How far a replica may be behind at most; infinite where nobody reads from it",
    ["server"], multiprocess_mode="livemax",
)  # fmt: skip
log = logging.getLogger(__name__)
_CONNECT_S = 2
_ANSWER_S = 1.0
_OLD_S = 0.5
"""Who has said nothing for longer is asked for no read; a loop that stood still for longer has slept."""
_TICK_S = 0.1
STATE: LiteralString = """
SELECT recovering, (SELECT system_identifier FROM pg_control_system()),
       CASE WHEN recovering THEN (SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming')
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END,
       CASE WHEN recovering THEN (pg_last_wal_replay_lsn() - '0/0')::bigint
            ELSE (pg_current_wal_flush_lsn() - '0/0')::bigint END,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), extract(epoch FROM pg_postmaster_start_time())::text
FROM (SELECT pg_is_in_recovery() AS recovering) r"""


class ClusterWatch:
    """Asks every server again and again, from `start` to `close`.

    `on_primary` hears of another primary or timeline, `on_silent` of a server that answers no more.
    """

    def __init__(self, nodes: Sequence[Node], settings: ReplicaSettings) -> None:
        self.nodes = list(nodes)
        self.primary: Node | None = None
        self.timeline: int | None = None
        """The highest that a server that takes writes has had."""
        self.least_timeline = 0
        """What somebody else has said that the timeline is at least, whom this process has not heard of yet."""
        self.system: int | None = None
        self.split = ""
        """What is said where two servers take writes on one timeline: then nobody knows whose writes count."""
        self.on_primary: Callable[[], None] = lambda: None
        self.on_silent: Callable[[Node], None] = lambda node: None
        self._settings = settings
        self._written: deque[tuple[float, int, int]] = deque(maxlen=1_024)
        """When the primary was asked, its timeline, and how far it had written by then at least."""
        self._tasks: list[asyncio.Task[None]] = []
        self._ticked_at, self._slept_until = time.monotonic(), 0.0
        self._is_sure = False
        """Whether a server of the primary's URL has said which cluster it is."""

    async def start(self) -> None:
        """Begin, and wait until each server has answered or failed once."""
        self._ticked_at = time.monotonic()
        self._tasks = [asyncio.create_task(self._ask_on(node)) for node in self.nodes]
        self._tasks.append(asyncio.create_task(self._tick()))
        await asyncio.gather(*(node.answered.wait() for node in self.nodes))

    async def close(self) -> None:
        """End."""
        while left := [task for task in self._tasks if not task.done()]:
            for task in left:
                task.cancel()  # again: before 3.12 wait_for may swallow one
            await asyncio.wait(left, timeout=0.1)

    def lag_s(self, node: Node) -> float:
        """How old what a replica shows may be at most, by what is known; infinite where nothing is."""
        position = node.position
        if position is None or node.seen is None:
            return math.inf
        for asked_at, timeline, lsn in reversed(self._written):
            if timeline == position.timeline and lsn <= position.lsn:
                return time.monotonic() - asked_at
        return math.inf

    def usable(self, needed: Position | None) -> list[Node]:
        """The replicas that have replayed what is needed; where nothing is, those that are not behind the bound."""
        if self.split:
            return []
        return [node for node in self.nodes if self._serves(node, needed)]

    def _serves(self, node: Node, needed: Position | None) -> bool:
        position = node.position
        if position is None or node.seen is None or position.system != self.system:
            return False
        if position.timeline != self.timeline or time.monotonic() - node.seen.asked_at > _OLD_S + self._settings.poll_s:
            return False
        if needed is not None:
            return position.covers(needed)
        return self.lag_s(node) <= self._settings.most_lag_s

    async def find(self, needed: Position | None) -> Node | None:
        """A replica to read from; None where the primary must be asked.

        One that is nearly there is asked once more, which takes a few milliseconds at most.
        """
        nodes = self.usable(needed)
        if not nodes and needed is not None and needed.timeline == self.timeline:
            close = [node for node in self.nodes if self.lag_s(node) <= 4 * self._settings.poll_s]
            until = time.monotonic() + self._settings.wait_s
            for node in close:
                node.answered.clear()
                node.wake.set()
            while close and not nodes and (left := until - time.monotonic()) > 0:
                waiting = [asyncio.ensure_future(node.answered.wait()) for node in close]
                await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in waiting:
                    task.cancel()
                for node in close:
                    if node.answered.is_set():
                        node.answered.clear()
                        node.wake.set()
                nodes = self.usable(needed)
        return random.choice(nodes) if nodes else None

    async def hear(self) -> None:
        """Return at once, unless this process slept, or its loop stood still: then once each server was asked anew.

        It may have missed a promotion: who leads in its eyes may be who has been left behind. Waits once, and not for
        long, for a server that does not answer.
        """
        now = time.monotonic()
        if now - self._ticked_at > _TICK_S + _OLD_S:
            self._ticked_at, self._slept_until = now, now
        if not self._slept_until:
            return
        slept_until, until = self._slept_until, self._slept_until + _ANSWER_S
        while now < until and (old := [node for node in self.nodes if node.tried_at < slept_until]):
            for node in old:
                node.answered.clear()
                node.wake.set()
            waiting = [asyncio.ensure_future(node.answered.wait()) for node in old]
            await asyncio.wait(waiting, timeout=until - now, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            now = time.monotonic()
        if self._slept_until == slept_until:
            self._slept_until = 0.0

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            if now - self._ticked_at > _TICK_S + _OLD_S:
                self._slept_until = now
            self._ticked_at = now

    async def _ask_on(self, node: Node) -> None:
        connection: psycopg.AsyncConnection[TupleRow] | None = None
        try:
            while True:
                began = time.monotonic()
                try:
                    if connection is None:
                        async with asyncio.timeout(_CONNECT_S):  # names are looked up outside of libpq's own limit
                            connection = await psycopg.AsyncConnection.connect(
                                node.url, autocommit=True, connect_timeout=_CONNECT_S,
                                application_name="archzero-lab watch",
                            )  # fmt: skip
                    asked_at = began
                    with cut_after(connection, _ANSWER_S):
                        row = await (await connection.execute(STATE)).fetchone()
                    assert row is not None
                    self._note(node, Seen(asked_at, not row[0], row[1] % 2**64, row[2], row[3], row[5]), may_see=row[4])
                except (psycopg.Error, OSError, TimeoutError) as error:
                    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                    if node.seen is not None:
                        self.on_silent(node)
                    node.seen, node.trouble = None, f"cannot be asked: {mask_secrets(reason)}"
                    if connection is not None:
                        await connection.close()
                    connection = None
                node.tried_at = began
                self._judge()
                LAG.labels(node.name).set(0.0 if node is self.primary else self.lag_s(node))
                node.answered.set()
                with suppress(TimeoutError):
                    await asyncio.wait_for(node.wake.wait(), self._settings.poll_s)
                node.wake.clear()
        finally:
            if connection is not None:
                await connection.close()

    def _note(self, node: Node, seen: Seen, *, may_see: bool) -> None:
        node.seen = seen
        if seen.writable:
            node.timeline, node.trouble = seen.timeline, ""
            if node is self.primary and seen.timeline is not None:
                self._written.append((seen.asked_at, seen.timeline, seen.lsn))
            return
        node.timeline = seen.timeline or node.timeline
        if not may_see:
            node.trouble = "its role may not see pg_stat_wal_receiver: GRANT pg_read_all_stats TO it on the primary"
        elif node.timeline is None:
            node.trouble = "is a replica that streams from nobody"
        else:
            node.trouble = ""

    def _judge(self) -> None:
        """Who the primary is, and what is wrong with the others."""
        if not self._is_sure:
            self._find_system()
        ours = [node for node in self.nodes if node.seen is not None and node.seen.system == self.system]
        writable = [node for node in ours if node.seen is not None and node.seen.writable]
        before = self.primary, self.timeline
        newest = max((node.timeline or 0 for node in writable), default=0)
        if newest >= (self.timeline or 1):
            first = [node for node in writable if node.timeline == newest]
            self.primary = next((node for node in first if node is self.primary), first[0])
            self.timeline = newest
            names = " and ".join({node.seen.since: node.name for node in first if node.seen is not None}.values())
            self.split = f"{names} take writes on timeline {newest}; stop all but one" if " and " in names else ""
        for node in self.nodes:
            if node.seen is not None and node not in ours:
                node.trouble = "is of another cluster"
            elif node in writable and node.timeline != self.timeline:
                known = self.primary.name if self.primary is not None else "another"
                node.trouble = f"takes writes on timeline {node.timeline}, {known} on {self.timeline}; stop it"
        if (self.primary, self.timeline) != before:
            name = self.primary.name if self.primary is not None else "nobody"
            log.warning("the primary is %s, timeline %s", name, self.timeline)
            self._written.clear()
            self.on_primary()

    def _find_system(self) -> None:
        """Which cluster it is: the primary's URL says so; where nobody answers there, the others, if they agree."""
        leading = {node.seen.system for node in self.nodes if node.leads and node.seen is not None}
        heard = {node.seen.system for node in self.nodes if node.seen is not None}
        before = self.system
        if leading:
            self.system, self._is_sure = min(leading), True
        elif len(heard) == 1 and not any(node.leads and node.trouble == NOT_ASKED for node in self.nodes):
            self.system = min(heard)
        if before is not None and before != self.system:
            self.primary, self.timeline = None, None
            self._written.clear()
