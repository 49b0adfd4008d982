"""The way to Redis: a hard timeout, a circuit breaker, and a licence to believe what it says.

A licence is what a process needs to read from Redis. It lasts a moment (licence_s) from the sending of a heartbeat that
was done, and a heartbeat does what an invalidation does: a Redis that answers but takes no writes renews none. It is
revoked by what may mean lost invalidations: one that Redis refused, a connection to another Redis than the one that was
validated (each tells its run id first), a failover to and fro (another replication id), another epoch of a Cluster (see
members), a breaker that opened. A command that failed or was late revokes nothing by itself: the licence runs out
unless a heartbeat is done in time. It is given again only after validation: has this Redis been restarted, and has the
outbox been drained. So a writer who could not tell Redis waits that long at most, and may then be sure that nobody
reads an old value from it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from prometheus_client import Gauge
from redis.exceptions import ResponseError

from archzero_lab.errors import mask_secrets
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.absence import Absence
from archzero_lab.systems.arczero.cache.breaker import CircuitBreaker
from archzero_lab.systems.arczero.cache.clients import REDIS_FAILED
from archzero_lab.systems.arczero.cache.connections import Connections
from archzero_lab.systems.arczero.cache.counters import count, count_call
from archzero_lab.systems.arczero.cache.keys import Kind
from archzero_lab.systems.arczero.cache.members import LEFT_OUT_AFTER_S, PartlyAwayError
from archzero_lab.systems.arczero.cache.pipe import Abandoned
from archzero_lab.systems.arczero.cache.settling import licence_over_s
from archzero_lab.systems.arczero.cache.tasks import end_task

log = logging.getLogger(__name__)
T = TypeVar("T")


class Link:
    """One process's way to Redis. `start()` before use, `close()` after.

    `beat` does on a connection what an invalidation does, tells the server's identity and raises what it is refused
    with; `obey` does that where somebody else may have a licence; `validate` makes good what may have been missed and
    tells the identity of what may be believed then, None for nothing; `on_revoked` hears of revocations.
    """

    def __init__(self, url: str, settings: CacheSettings, names: Sequence[str]) -> None:
        """`names` are keys that every server which holds entries has one of."""
        self._settings = settings
        self.connections = Connections(url, settings, names, self.revoke)
        self.client, self.pipe = self.connections.client, self.connections.pipe
        self._slots = asyncio.Semaphore(settings.pool_size)
        self.breaker = CircuitBreaker(settings.breaker_failures, self._log_state)
        self.beat: Callable[[Any], Awaitable[str]] = _unbound
        self.obey: Callable[[Any], Awaitable[bool]] = _unbound
        self.validate: Callable[[Any], Awaitable[str | None]] = _unbound
        self.on_revoked: Callable[[], None] = lambda: None
        self._suspect = True
        self._identity = ""
        """What its heartbeat told when it was validated."""
        self._validating = False
        self._licensed_until = 0.0
        self._revocations = 0
        self._absence = Absence(settings)
        self._last_error = "not connected yet"
        self._wake = asyncio.Event()
        self._first_beat = asyncio.Event()
        self._heart: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the connections and wait for the first heartbeat, answered or not."""
        self._heart = asyncio.create_task(self._beat_on())
        await self._first_beat.wait()

    async def rest(self) -> None:
        """End the heartbeat."""
        await end_task(self._heart)

    async def close(self) -> None:
        """Close every connection."""
        await self.rest()
        await self.connections.close()

    @property
    def licensed(self) -> bool:
        """Whether what Redis says may be believed now."""
        return not self._suspect and time.monotonic() < self._licensed_until

    @property
    def lost_for_s(self) -> float:
        """How long Redis has been seen to be away, 0 where the last heartbeat was answered."""
        return self._absence.lasts_s(time.monotonic())

    @property
    def patience_s(self) -> float:
        """How long a writer tries to tell Redis: a Cluster's that is partly away until the rest goes on without it."""
        patience_s = 3 * licence_over_s(self._settings)
        return patience_s + 3 * LEFT_OUT_AFTER_S if self.connections.is_clustered else patience_s

    @property
    def trouble(self) -> str:
        """The last error of Redis, or of the way to it."""
        return self._last_error

    async def obeys(self) -> bool:
        """Whether Redis does at this moment what an invalidation needs."""
        try:
            async with asyncio.timeout(self.connections.beat_timeout_s):
                await self.connections.follow()
                return await self.obey(self.connections.probe)
        except REDIS_FAILED:
            return False

    async def read(self, kind: Kind, call: Callable[[], Awaitable[T]]) -> T | None:
        """A call whose answer is believed: None without a licence, before or after it, or where it failed."""
        if not self.licensed:
            return None
        revocations = self._revocations
        answer = await self._call(kind, call)
        return answer if revocations == self._revocations and self.licensed else None

    def send_read(self, kind: Kind, command: bytes, answered: Callable[[Any], None]) -> None:
        """As read(), of a packed command by the pipe; `answered` is called once, at once where there is no licence."""
        if not self.licensed or self.breaker.is_open:
            answered(None)
            return
        assert self.pipe is not None
        revocations, began = self._revocations, time.perf_counter()

        def ended(answer: Any) -> None:
            if isinstance(answer, Exception):
                if not isinstance(answer, Abandoned):
                    self._note(kind, answer)
                answered(None)
                return
            count_call(time.perf_counter() - began)
            self.breaker.success()
            answered(answer if revocations == self._revocations and self.licensed else None)

        self.pipe.send(command, ended)

    async def write(self, kind: Kind, call: Callable[[], Awaitable[T]]) -> T | None:
        """A call whose failing harms nobody: tried without a licence too; None where it failed."""
        return await self._call(kind, call)

    async def tell(self, kind: Kind, call: Callable[[], Awaitable[T]]) -> T | None:
        """An invalidation: tried without a licence too; None where it failed, or another Redis may be believed.

        Refused, it revokes.
        """
        answer = await self._call(kind, call, refusal_revokes=True)
        return answer if self.connections.lead_to_the_one else None

    def revoke(self) -> None:
        """Stop believing Redis until it has been validated anew."""
        self._suspect, self.connections.known = True, set()
        self._revocations += 1
        self._wake.set()
        self.on_revoked()

    async def _call(self, kind: Kind, call: Callable[[], Awaitable[T]], *, refusal_revokes: bool = False) -> T | None:
        # waiting for a connection of our own says nothing about Redis, so it is not under the timeout
        async with self._slots:
            if self.breaker.is_open and not self._validating:
                return None
            began = time.perf_counter()
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    result = await call()
            except REDIS_FAILED as error:
                self._note(kind, error, refusal_revokes=refusal_revokes)
                return None
            count_call(time.perf_counter() - began)
            self.breaker.success()
            return result

    def _note(self, kind: Kind, error: Exception, *, refusal_revokes: bool = False) -> None:
        """What a call that failed means for the licence and the breaker."""
        count(kind, "error")
        if isinstance(error, ResponseError):  # it answers, but does not do it: memory full, read-only replica
            self._last_error = mask_secrets(str(error))
            if refusal_revokes:
                self.revoke()
            return
        self._failed(error)

    def _failed(self, error: BaseException) -> None:
        # redis-py has taken the first word from errors that it has a class for
        self._last_error = mask_secrets(
            str(error) if type(error) is ResponseError else f"{type(error).__name__}: {error}"
        )
        was_open = self.breaker.is_open
        self.breaker.failure()
        if self.breaker.is_open and not was_open:
            self.revoke()

    async def _beat_on(self) -> None:
        while True:
            done = False
            try:
                done = await self._beat()
            except Exception:  # the heart must not stop for a fault in validation; without licence nothing is wrong
                log.exception("heartbeat")
                self.revoke()
            self._first_beat.set()
            _licensed().set(self.licensed)
            try:
                await asyncio.wait_for(self._wake.wait(), self._settings.heartbeat_s)
                # woken by a revocation: at once, but not in a tight loop while Redis is away or refuses
                if not done:
                    await asyncio.sleep(self._settings.heartbeat_s)
            except TimeoutError:
                pass
            self._wake.clear()

    async def _beat(self) -> bool:
        """One heartbeat; whether it gave a licence."""
        sent, connections = time.monotonic(), self.connections
        if sent >= self._licensed_until:  # a gap: a writer may have counted on it
            self._suspect, connections.known = True, set()
        try:
            async with asyncio.timeout(connections.beat_timeout_s):
                identity = await self._beat_leader()
        except PartlyAwayError as error:
            self._absence.answered()  # for others it may be whole
            self._last_error = mask_secrets(str(error))
            return False
        except REDIS_FAILED as error:  # what was not done renews nothing
            if self._absence.failed(sent, time.monotonic()):
                log.debug("heartbeat: %s", mask_secrets(str(error)))
            self._failed(error)
            refused = isinstance(error, ResponseError) or not connections.lead_to_the_one
            if not self._suspect and refused:
                self.revoke()
            return False
        self._absence.answered()
        if not self._suspect and identity != self._identity:
            self.revoke()
        if not connections.lead_to_the_one:
            return False  # not yet: others may rely on the one before
        if self._suspect:
            self._validating = True
            try:
                await connections.use_each()
                # what follows comes after answered pings: whatever was sent to Redis before has been done by it
                revocations, sent = self._revocations, time.monotonic()
                try:
                    async with asyncio.timeout(self._settings.timeout_s):
                        await connections.follow()
                except REDIS_FAILED:
                    return False
                if not connections.lead_to_the_one:
                    return False
                run_ids = await connections.ask_run_ids()
                validated = await self.validate(connections.probe)
                if validated is None or self._revocations != revocations:
                    return False
            finally:
                self._validating = False
            connections.known, self._identity = run_ids, validated
            self._suspect = False
        self._licensed_until = min(sent + self._settings.licence_s, connections.relied_until)
        self.breaker.recovered()
        return True

    async def _beat_leader(self) -> str:
        """A heartbeat of whoever leads."""
        await self.connections.follow()
        return await self.beat(self.connections.probe)

    def _log_state(self, state: str) -> None:
        if state == "open":
            log.warning("Redis is not used (%s); reads go to the database until it is back", self._last_error)
        else:
            log.warning("Redis is back; the cache is in use again")


@functools.cache
def _licensed() -> Gauge:
    """Made by who has a link: a process that only starts others would tell 0 for ever."""
    return Gauge("archzero_cache_licensed", "Whether a process believes its Redis", multiprocess_mode="liveall")


async def _unbound(_: Any) -> Any:
    raise NotImplementedError("a link needs beat and validate before it starts")
