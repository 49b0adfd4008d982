"""People at work on a portfolio, for plain Locust: locust -f loadtests/portfolio_users.py --host http://127.0.0.1:3000

A closed workload: each user waits for the answer, thinks, and goes on. Every answer is checked. For arrivals that do
not wait, shapes and a capacity: loadtests/load.py.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from typing import Any

from actions import ACTIONS, Action, Call, draw, what_is_wrong
from catalog import Catalog, load_catalog
from locust import FastHttpUser, events
from mix import THINK_TIME_S, WEIGHTS
from team_requests import TeamCatalog, team_catalog

_catalog: Catalog | TeamCatalog | None = None
_numbers = iter(range(1, 1_000_000_000))


@events.test_start.add_listener
def read_catalog(environment: Any, **_: Any) -> None:
    """Read the catalog before the first user starts; without one there is nothing to ask for, and the test ends."""
    global _catalog
    try:
        told = team_file()
        _catalog = team_catalog(told) if told else load_catalog(environment.host or Person.host)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        print(f"no load: {error}")  # Locust's own console is where a user of plain Locust looks
        environment.process_exit_code = 2
        environment.runner.quit()


def team_file() -> dict[str, Any] | None:
    """What the file of ARCHZERO_CATALOG holds, where that is a team's own requests; None of a card service's."""
    path = os.environ.get("ARCHZERO_CATALOG")
    if not path:
        return None
    with open(path) as handle:
        told: dict[str, Any] = json.load(handle)
    return told if "team" in told else None


def next_calls(rng: random.Random) -> list[Call]:
    """The calls of one action of the mix, or one request of a team's."""
    return [_catalog.draw(rng)] if isinstance(_catalog, TeamCatalog) else draw(rng, catalog())


def catalog() -> Catalog:
    """What there is to ask for."""
    assert isinstance(_catalog, Catalog), "read at test start"
    return _catalog


def new_random() -> random.Random:
    """A random stream of one's own, from the run's seed, this process and how many there were before."""
    place = os.environ.get("ARCHZERO_SEED", "1"), os.environ.get("LOCUST_WORKER_INDEX", "0"), next(_numbers)
    return random.Random(" ".join(map(str, place)))


def send(user: Any, call: Call, intended_s: float | None = None) -> None:
    """Send a call and check its answer. `intended_s` (perf_counter) is when it should have been sent.

    The response time that Locust is told counts from there; the service time and how late it was go beside it, as
    `context` of the request event.
    """
    late_s = 0.0 if intended_s is None else max(time.perf_counter() - intended_s, 0.0)
    headers = user.headers_of(call)
    if call.body is not None and call.media_type:
        headers["Content-Type"] = call.media_type
    with user.client.request(
        call.method, user.at(call.path), name=call.name, data=call.body, headers=headers, catch_response=True
    ) as answer:
        service_ms = answer.request_meta["response_time"]
        answer.request_meta["context"] = {"service_s": service_ms / 1000, "late_s": late_s}
        answer.request_meta["response_time"] = service_ms + late_s * 1000
        wrong = what_is_wrong(call, answer.status_code, answer.text or "")
        if wrong is not None:
            answer.failure(wrong)


def task_of(name: str, action: Action) -> Callable[[Any], None]:
    """An action as a task of Locust's."""

    def task(user: Any) -> None:
        for call in action(user.random, catalog()):
            send(user, call)

    task.__name__ = name.replace(" ", "_")
    return task


class Sender(FastHttpUser):
    """Whoever sends calls: where to, and with which headers."""

    abstract = True
    host = "http://127.0.0.1:3000"

    def at(self, path: str) -> str:
        """Where a path is asked for: at the user's host."""
        return path

    def headers_of(self, call: Call) -> dict[str, str]:
        """What a call says of itself."""
        return dict(call.headers or {})


class Person(Sender):
    """Somebody who thinks between two actions; what they do is for the classes below (Locust adds a base's tasks)."""

    abstract = True

    def on_start(self) -> None:
        """A random stream of one's own."""
        self.random = new_random()

    def wait_time(self) -> float:
        """Think: exponential, with the mean of the option --think-time-s where that is there (load.py)."""
        mean_s = getattr(self.environment.parsed_options, "think_time_s", THINK_TIME_S)
        return self.random.expovariate(1 / mean_s) if mean_s > 0 else 0.0


class PortfolioUser(Person):
    """Opens cards, browses, filters, searches, walks the graph, and now and then edits a card or imports some."""

    tasks = {task_of(name, action): WEIGHTS[name] for name, action in ACTIONS.items()}  # noqa: RUF012  # Locust's way
