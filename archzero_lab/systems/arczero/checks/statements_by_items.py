"""Every endpoint asked for 1, 10 and 100 items, and the statements that it sends counted by the service's own pool."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from archzero_lab.errors import MeasurementError
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.services import Serving, start_service, url_of_service
from archzero_lab.systems.http import NO_ANSWER_IN_TIME, call, metric

ITEMS = (1, 10, 100)
NO_ANSWER, NOT_IN_TIME = -1, -2
"""Instead of a number of statements: a wrong answer, and none within a minute."""

NO_DATABASE = (
    "GET /metrics",
    "GET /api/v1/cache/health",
    "GET /api/v1/cache/stats",
    "POST /api/v1/cache/stats/reset",
    "POST /api/v1/cache/flush",
    "POST /api/v1/cache/warm",
)
"""Endpoints that send no statement where there is no cache. What warm loads are so many questions, each of its own."""

Ask = Callable[[int], tuple[int, Any]]


@dataclass(frozen=True)
class _Hub:
    """A card with so many relationships and tags, and one of those relationships."""

    card_id: str
    relationship_id: str


def statements_by_items(stack: Stack, database_url: str, ids: list[str]) -> dict[str, dict[int, int]]:
    """How many statements each endpoint takes by its number of items; NO_ANSWER or NOT_IN_TIME where it gave none.

    On a service of its own without a cache, which sends nothing but what it is asked for. Items are the rows of a page
    or an import, and of one card its relationships and tags. `ids`: cards that are there, a hundred for a hub of that
    size. What is created for it is deleted again, but for the imported cards. Raises MeasurementError where nothing can
    be created.
    """
    service = start_service(stack, Serving("n-plus-one", url_of_service(stack, database_url), cached=False))
    try:
        hubs = {size: _make_hub(service.url, ids[:size]) for size in ITEMS}
        counts: dict[str, dict[int, int]] = {}
        created: list[str] = []
        for name, ask in _endpoints(service.url, ids, hubs, created).items():
            counts[name] = {}
            for size in ITEMS:
                before = int(metric(service.url, "archzero_database_statements_total"))
                status, answer = ask(size)
                sent = int(metric(service.url, "archzero_database_statements_total")) - before
                late = (status, answer) == (0, NO_ANSWER_IN_TIME)
                counts[name][size] = sent if 200 <= status < 300 else NOT_IN_TIME if late else NO_ANSWER
        for card_id in created:
            call(service.url, "DELETE", f"/api/v1/cards/{card_id}")
        return counts
    finally:
        stack.registry.stop(service.record)


def grows(counts: Mapping[int, int]) -> bool:
    """Whether more items took more statements than the fewest did."""
    return max(counts.values()) > counts[min(counts)]


def _make_hub(url: str, neighbours: list[str]) -> _Hub:
    size = len(neighbours)
    card = {"name": f"Hub {uuid.uuid4()}", "type": "Application", "tags": _tags(size)}
    _, made = call(url, "POST", "/api/v1/cards", card)
    last: Any = None
    for neighbour in neighbours if made else ():
        _, last = call(url, "POST", "/api/v1/relationships", _edge(made["id"], neighbour))
    if not made or not last:
        raise MeasurementError("the service could not create a card with relationships: nothing to count statements of")
    return _Hub(made["id"], last["id"])


def _endpoints(url: str, ids: list[str], hubs: Mapping[int, _Hub], created: list[str]) -> dict[str, Ask]:
    """Method and path of every endpoint that reads or writes the database, and how it is asked; deletions last.

    Ids of cards that it creates are added to `created`.
    """

    def get(path: str) -> Ask:
        return lambda size: call(url, "GET", path.format(size=size, hub=hubs[size]))

    def import_cards(size: int) -> tuple[int, Any]:
        rows = [{"name": f"Imported {uuid.uuid4()}", "type": "Risk"} for _ in range(size)]
        return call(url, "POST", "/api/v1/import", "\n".join(json.dumps(row) for row in rows))

    def create_card(size: int) -> tuple[int, Any]:
        status, made = call(
            url, "POST", "/api/v1/cards", {"name": f"Made {uuid.uuid4()}", "type": "Risk", "tags": _tags(size)}
        )
        if made:
            created.append(made["id"])
        return status, made

    def put(path: str, body: Callable[[int], Any]) -> Ask:
        return lambda size: call(url, "PUT", path.format(hub=hubs[size]), body(size))

    def delete(path: str) -> Ask:
        return lambda size: call(url, "DELETE", path.format(hub=hubs[size]))

    relationship = "/api/v1/relationships/{hub.relationship_id}"
    return {
        "GET /api/v1/cards": get("/api/v1/cards?type=Application&pageSize={size}"),
        "GET /api/v1/search": get("/api/v1/search?q=service&pageSize={size}"),
        "GET /api/v1/cards/{card_id}": get("/api/v1/cards/{hub.card_id}"),
        "GET /api/v1/relationships": get("/api/v1/relationships?card_id={hub.card_id}&pageSize={size}"),
        "GET /api/v1/relationships/{relationship_id}": get(relationship),
        "GET /api/v1/graph": get("/api/v1/graph?center_card_id={hub.card_id}&depth=2"),
        "GET /api/v1/graph/stats": get("/api/v1/graph/stats"),
        "GET /api/v1/health": get("/api/v1/health"),
        "POST /api/v1/import": import_cards,
        "POST /api/v1/cards": create_card,
        "PUT /api/v1/cards/{card_id}": put("/api/v1/cards/{hub.card_id}", lambda size: {"tags": _tags(size)[::-1]}),
        "POST /api/v1/relationships": lambda size: call(
            url, "POST", "/api/v1/relationships", _edge(hubs[size].card_id, ids[0], "guides")
        ),
        "PUT /api/v1/relationships/{relationship_id}": put(relationship, lambda size: {"confidence": 1 / size}),
        "DELETE /api/v1/relationships/{relationship_id}": delete(relationship),
        "DELETE /api/v1/cards/{card_id}": delete("/api/v1/cards/{hub.card_id}"),
    }


def _tags(size: int) -> list[str]:
    """As many tags, up to the 50 that a card may have."""
    return [f"tag-{number}" for number in range(min(size, 50))]


def _edge(from_card: str, to_card: str, kind: str = "dependsOn") -> dict[str, Any]:
    return {"fromCardId": from_card, "toCardId": to_card, "relationshipType": kind}
