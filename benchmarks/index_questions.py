"""What benchmarks/index_sets.py asks: paths of a card service by kind, drawn from what its database holds."""

from __future__ import annotations

import random
import urllib.parse
from collections.abc import Callable

from archzero_lab.postgres.connection import Connection
from archzero_lab.systems.arczero.cards.catalog import Catalog


class Questions:
    """Paths by kind, each drawn anew, so that none is asked twice on purpose."""

    def __init__(self, connection: Connection, catalog: Catalog, seed: int) -> None:
        self._rng = random.Random(seed)
        self._catalog = catalog
        self._cursors = [
            f"{created.replace(tzinfo=None).isoformat(timespec='microseconds')}Z_{card_id}"
            for created, card_id in connection.execute(
                "SELECT created_at, id FROM cards TABLESAMPLE SYSTEM (1) REPEATABLE (1) LIMIT 5000"
            )
        ]
        hub = connection.execute(
            "SELECT target_card_id FROM relationships GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
        ).fetchone()
        self._hub = hub[0] if hub else catalog.ids[0]
        texts = connection.execute("SELECT name, description FROM cards ORDER BY id LIMIT 3000").fetchall()
        self._texts = [text for row in texts for text in row if text]

    def path(self, kind: str) -> str:
        """A request of a kind."""
        rng, catalog = self._rng, self._catalog
        query: dict[str, str] = {}
        match kind.split(": "):
            case ["detail"]:
                return f"/api/v1/cards/{rng.choice(catalog.ids)}"
            case ["relationships"]:
                return f"/api/v1/relationships?card_id={rng.choice(catalog.ids)}"
            case ["relationships", "hub"]:
                return f"/api/v1/relationships?card_id={self._hub}&page={rng.randint(1, 20)}"
            case ["graph", "hub"]:
                return f"/api/v1/graph?center_card_id={self._hub}&depth={rng.randint(1, 2)}"
            case ["graph"]:
                return f"/api/v1/graph?center_card_id={rng.choice(catalog.ids)}&depth=2"
            case ["list", "first pages"]:
                query = {"page": str(rng.randint(1, 5))}
            case ["list", "any page by cursor"]:
                query = {"cursor": rng.choice(self._cursors)}
            case ["filter", names]:
                for name in names.split(", "):
                    query |= self._filter(name)
            case ["search", what]:
                query = {"q": self._word(what)}
        return "/api/v1/cards?" + urllib.parse.urlencode(query)

    def _filter(self, name: str) -> dict[str, str]:
        rng, catalog = self._rng, self._catalog
        choices: dict[str, Callable[[], dict[str, str]]] = {
            "type": lambda: {"type": rng.choice(catalog.types)},
            "phase": lambda: {"lifecyclePhase": rng.choice(catalog.phases)},
            "status": lambda: {"status": rng.choice(["any", "draft", "inactive", "archived"])},
            "quality": lambda: {"minQuality": str(rng.choice([50, 80, 90, 95, 100]))},
            "owner": lambda: {"ownerId": rng.choice(catalog.owners)},
            "tag": lambda: {"tags": rng.choice(catalog.tags)},
            "attribute": lambda: {"attributes": rng.choice(catalog.attributes)},
            "cursor": lambda: {"cursor": rng.choice(self._cursors)},
        }
        return choices[name]()

    def _word(self, what: str) -> str:
        rng, catalog = self._rng, self._catalog
        text = rng.choice(self._texts)
        begin = rng.randrange(max(len(text) - 12, 1))
        choices: dict[str, Callable[[], str]] = {
            "common word": lambda: rng.choice(catalog.common),
            "middling word": lambda: rng.choice(catalog.middling),
            "rare word": lambda: rng.choice(catalog.rare),
            "one character": lambda: rng.choice("abcdefghijklmnopqrstuvwxyz0123456789ß"),
            "two characters of a card": lambda: text[begin : begin + 2],
            "any two letters": lambda: rng.choice("abcdefghijklmnopqrstuvwxyz") + rng.choice("qxzjkvwy"),
            "a piece of a card": lambda: text[begin : begin + rng.randint(3, 12)],
            "what no card has": lambda: "".join(rng.choices("bcdfghjkqxz", k=rng.randint(3, 8))),
        }
        return choices[what]()


KINDS = (
    "list: first pages", "list: any page by cursor", "filter: type", "filter: phase", "filter: status",
    "filter: quality", "filter: owner", "filter: tag", "filter: attribute", "filter: type, phase",
    "filter: phase, quality", "filter: type, cursor", "search: common word", "search: middling word",
    "search: rare word", "search: one character", "search: two characters of a card", "search: any two letters",
    "search: a piece of a card", "search: what no card has", "detail", "relationships",
    "relationships: hub", "graph", "graph: hub",
)  # fmt: skip
