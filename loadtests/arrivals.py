"""An open workload: arrivals from a schedule that do not wait for earlier answers, as users of a service do not.

Response time counts from the moment at which a request was to be sent: a server that stalls makes everybody wait who
arrives meanwhile, and a closed load, whose users all wait in the one request, hardly shows it (coordinated omission).
"""

from __future__ import annotations

import time
from collections import deque

import gevent
import pace
import recorder
import replay
from actions import Call
from gevent.pool import Pool
from locust import task
from portfolio_users import Sender, new_random, next_calls, send

MOST_IN_FLIGHT = 2_000
"""A process with so many unanswered requests drops what arrives, and says so: the service is far beyond its limit."""

_SLICE_S = 0.05


class OpenArrivals(Sender):
    """One a process; sends the mix, or a recorded log, at the run's pace."""

    open_workload = True
    concurrency = MOST_IN_FLIGHT
    network_timeout = 60.0
    connection_timeout = 60.0

    def on_start(self) -> None:
        """Two random streams: when, and what, so that another rate asks for the same things in the same order."""
        self.random, self.clock = new_random(), new_random()
        self.in_flight = Pool(MOST_IN_FLIGHT)
        self.waiting: deque[Call] = deque()

    @task
    def arrive(self) -> None:
        """Arrivals until the run ends; then what is under way may end."""
        while pace.CURRENT.began_s is None:
            gevent.sleep(0.005)
        try:
            if replay.ENTRIES:
                self._follow_log()
            else:
                self._follow_pace()
        finally:
            self.in_flight.join(timeout=30)

    def _follow_pace(self) -> None:
        even = self.environment.parsed_options.arrivals == "even"
        at_s = time.perf_counter()
        needed = 1.0 if even else self.clock.expovariate(1.0)
        while not pace.CURRENT.finished:
            rate = pace.CURRENT.rate_at(at_s)
            if needed > rate * _SLICE_S:  # nobody within this slice: the pace may have changed after it
                needed -= rate * _SLICE_S
                at_s += _SLICE_S
                self._until(at_s)
                continue
            at_s += needed / rate
            self._until(at_s)
            if pace.CURRENT.rate_at(at_s) > 0:  # else the run's time was over just before
                self._send(self._next(), at_s)
            needed = 1.0 if even else self.clock.expovariate(1.0)

    def _follow_log(self) -> None:
        began_s = pace.CURRENT.began_s or time.perf_counter()
        for entry in replay.mine(self.environment.runner):
            at_s = began_s + entry.at_s / self.environment.parsed_options.speed
            self._until(at_s)
            if pace.CURRENT.finished:
                return
            self._send(entry.call, at_s)
        while not pace.CURRENT.finished:  # the shape ends the run
            gevent.sleep(0.05)

    def _until(self, at_s: float) -> None:
        """Sleep until a moment; when late already, still let the requests under way have their turn."""
        gevent.sleep(max(at_s - time.perf_counter(), 0.0))

    def _next(self) -> Call:
        if not self.waiting:
            self.waiting.extend(next_calls(self.random))
        return self.waiting.popleft()

    def _send(self, call: Call, at_s: float) -> None:
        recorder.RECORDER.offered(at_s)
        if self.in_flight.free_count() <= 0:
            recorder.RECORDER.dropped(at_s)
            return
        self.in_flight.spawn(send, self, call, at_s)
