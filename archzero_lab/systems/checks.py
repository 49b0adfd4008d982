"""What a check works on and what it counts: a claim that is no latency is so many trials, each right or wrong."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.services import RunningService


@dataclass
class Tried:
    """How often it was tried, what went wrong, and the counters that show that it was tried at all."""

    trials: int = 0
    failures: list[str] = field(default_factory=list)
    mechanism: dict[str, Any] = field(default_factory=dict)

    def trial(self, right: bool, otherwise: str) -> None:
        """Count one."""
        self.trials += 1
        if not right:
            self.failures.append(otherwise)


@dataclass(frozen=True)
class Bench:
    """What a check works on: the treatment's service and database, ids of cards that are there."""

    stack: Stack
    service: RunningService
    database_url: str
    ids: list[str]

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, JSON) of a request; 0 where there was no answer."""
        return call(self.service.url, method, path, body, **headers)

    def stats(self) -> dict[str, Any]:
        """The cache's counters."""
        found: dict[str, Any] = self.call("GET", "/api/v1/cache/stats")[1]
        return found


def metric(url: str, name: str) -> float:
    """The sum of a service's metric of that name, over its processes; 0 where there is none."""
    with urllib.request.urlopen(url + "/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + " ", name + "{")))


def call(url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """(status, JSON) of a request to a service; (0, reason) where there was no answer. A text is sent as JSON Lines."""
    data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    media_type = "application/x-ndjson" if isinstance(body, str) else "application/json"
    request = urllib.request.Request(url + path, data, {"Content-Type": media_type, **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, None
    except (OSError, ValueError) as error:
        return 0, type(error).__name__
