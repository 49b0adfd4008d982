"""People at work on a portfolio, for plain Locust: locust -f loadtests/portfolio_users.py --host http://127.0.0.1:3000

Every answer is checked (status, shape, the card asked for): a fast wrong answer counts as a failure.
"""

from __future__ import annotations

import os
import random
from typing import Any
from urllib.parse import quote

from catalog import Catalog, load_catalog
from locust import FastHttpUser, events, task
from mix import THINK_TIME_S, WEIGHTS

_catalog: Catalog | None = None
_numbers = iter(range(1, 1_000_000_000))


@events.test_start.add_listener
def read_catalog(environment: Any, **_: Any) -> None:
    """Read the catalog once, before the first user starts."""
    global _catalog
    _catalog = load_catalog(environment.host or PortfolioUser.host)


class PortfolioUser(FastHttpUser):
    """Opens cards, browses, filters, searches, walks the graph, and now and then edits a card."""

    host = "http://127.0.0.1:3000"

    def on_start(self) -> None:
        """A random stream of one's own, from the run's seed."""
        self.random = random.Random(f"{os.environ.get('ARCHZERO_SEED', '1')} {next(_numbers)}")

    def wait_time(self) -> float:
        """Think."""
        return self.random.expovariate(1 / THINK_TIME_S)

    @property
    def catalog(self) -> Catalog:
        """What there is to ask for."""
        assert _catalog is not None, "read at test start"
        return _catalog

    def at(self, path: str) -> str:
        """Where a path is asked for: at the user's host."""
        return path

    def read(self, path: str, name: str, expected: str) -> None:
        """GET a path and check that the answer holds what was asked for."""
        with self.client.get(self.at(path), name=name, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
            elif expected not in (answer.text or ""):
                answer.failure(f"the answer does not hold {expected[:60]}")

    @task(WEIGHTS["open card"])
    def open_card(self) -> None:
        """The detail of a card."""
        card = self.catalog.cards.draw(self.random)
        self.read(f"/api/v1/cards/{card}", "open card", f'"id":"{card}"')

    @task(WEIGHTS["browse list"])
    def browse_list(self) -> None:
        """A page of the list, the first by far the most often."""
        page = min(int(self.random.paretovariate(1.2)), 50)
        self.read(f"/api/v1/cards?page={page}&pageSize=20", "browse list", '"totalRelation"')

    @task(WEIGHTS["filter list"])
    def filter_list(self) -> None:
        """The list of a type, of a phase, or of both."""
        kind, phase = self.catalog.types.draw(self.random), self.catalog.phases.draw(self.random)
        query = self.random.choice((f"type={kind}", f"lifecyclePhase={phase}", f"type={kind}&lifecyclePhase={phase}"))
        self.read(f"/api/v1/cards?{query}", "filter list", '"totalRelation"')

    @task(WEIGHTS["search by typing"])
    def search(self) -> None:
        """Two searches of a word as it is typed: its first three letters, then all of it."""
        word = self.catalog.words.draw(self.random)
        for text in (word[:3], word):
            self.read(f"/api/v1/search?q={quote(text)}", "search by typing", '"totalRelation"')

    @task(WEIGHTS["walk graph"])
    def walk_graph(self) -> None:
        """What lies around a card."""
        card = self.catalog.cards.draw(self.random)
        depth = self.random.choice((1, 1, 2))
        self.read(f"/api/v1/graph?center_card_id={card}&depth={depth}", "walk graph", card)

    @task(WEIGHTS["read relationships"])
    def read_relationships(self) -> None:
        """The relationships of a card."""
        card = self.catalog.cards.draw(self.random)
        self.read(f"/api/v1/relationships?card_id={card}", "read relationships", '"totalRelation"')

    @task(WEIGHTS["edit card"])
    def edit_card(self) -> None:
        """Change the quality score of a card and check that the answer holds the new one."""
        card, score = self.catalog.cards.draw(self.random), self.random.randint(0, 100)
        with self.client.put(
            self.at(f"/api/v1/cards/{card}"), json={"qualityScore": score}, name="edit card", catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
            elif f'"qualityScore":{score}' not in (answer.text or ""):
                answer.failure("the answer does not hold the new value")
