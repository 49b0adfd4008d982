"""A team's own requests for the load tests: a file of them that the lab drew, asked by their weights."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from actions import Call

NUMBER = "{n}"
"""In a path or a body: a number that no other request of this load has."""
_FIRST, _A_PROCESS = 1_000_000_000, 10_000_000  # they fit PostgreSQL's integer
_numbers = iter(range(_A_PROCESS))


@dataclass(frozen=True)
class TeamCatalog:
    """Calls of each kind of request, drawn by the popularity of their values, and the weights of the kinds."""

    calls: dict[str, list[Call]]
    cumulative: list[float]

    def draw(self, rng: random.Random) -> Call:
        """One request of the mix."""
        kind = rng.choices(list(self.calls), cum_weights=self.cumulative)[0]
        call = rng.choice(self.calls[kind])
        if NUMBER not in call.path and NUMBER not in (call.body or ""):
            return call
        worker = int(os.environ.get("LOCUST_WORKER_INDEX", "0"))
        number = str(_FIRST + worker * _A_PROCESS + next(_numbers))
        body = call.body.replace(NUMBER, number) if call.body is not None else None
        return Call(call.name, call.path.replace(NUMBER, number), (), call.method, call.status, body,
                    call.media_type, call.headers)  # fmt: skip


def team_catalog(told: dict[str, Any]) -> TeamCatalog:
    """The catalog of a file {"team": {kind: {"weight", "method", "status", "calls": [[path, body], …]}}}.

    Headers are not in it: they may be secrets, and come by ARCHZERO_LOAD_HEADERS.
    """
    headers: dict[str, dict[str, str]] = json.loads(os.environ.get("ARCHZERO_LOAD_HEADERS", "{}"))
    calls = {
        kind: [
            Call(kind, path, (), entry["method"], entry["status"], body, "", headers.get(kind))
            for path, body in entry["calls"]
        ]
        for kind, entry in told["team"].items()
    }
    return TeamCatalog(calls, list(accumulate(entry["weight"] for entry in told["team"].values())))
