"""The yardstick: the same little work at every slot of every run, so that two runs can be told apart from two machines.

A constant answer over HTTP and a statement that only computes, neither of them code that is under test. What makes them
slower (a neighbour, a warm CPU) makes the arms slower too.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from archzero_lab.errors import MeasurementError
from archzero_lab.postgres.connection import connect
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.driver import Driver

_REQUESTS = 20
_STATEMENTS = 10
_STATEMENT = "SELECT sum(sqrt(number)) FROM generate_series(1, 3000) AS number"


class Yardstick:
    """Opens a constant server and a connection; `close()` when done."""

    def __init__(self, stack: Stack, log: Path) -> None:
        port = free_port()
        self._registry = stack.registry
        self._record = stack.registry.spawn(
            "constant", [sys.executable, "-m", "archzero_lab.jobs.report.constant_server", str(port)],
            log=log, env=dict(os.environ),
        )  # fmt: skip
        self._driver = Driver(f"http://127.0.0.1:{port}", timeout_s=5)
        self._connection = connect(stack.postgres_url, autocommit=True)
        self._first_answer()

    def measure_ms(self) -> float:
        """Geometric mean of the median request and the median statement, in ms. About 15 ms of work."""
        requests = [self._driver.get("/")[0] for _ in range(_REQUESTS)]
        statements = []
        for _ in range(_STATEMENTS):
            began = time.perf_counter()
            self._connection.execute(_STATEMENT).fetchone()
            statements.append(time.perf_counter() - began)
        return float(np.sqrt(np.median(requests) * np.median(statements))) * 1000

    def client_cost(self, requests: int) -> dict[str, float]:
        """What the client itself costs: percentiles in ms of so many requests to the constant server."""
        times = np.array([self._driver.get("/")[0] for _ in range(requests)]) * 1000
        return {"p50_ms": round(float(np.median(times)), 4), "p95_ms": round(float(np.quantile(times, 0.95)), 4)}

    def close(self) -> None:
        """End the server and the connection."""
        self._driver.close()
        self._connection.close()
        self._registry.stop(self._record)

    def _first_answer(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                self._driver.get("/")
                return
            except MeasurementError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)  # polling until the process listens
