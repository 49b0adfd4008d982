"""Every kind of request that the card service answers, as what is counted of it asks for them: reads, then writes."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Mapping

from archzero_lab.postgres.request_statements import REQUEST_TAG
from archzero_lab.systems.arczero.cards.catalog import Catalog
from archzero_lab.systems.arczero.traffic import slot_operations
from archzero_lab.systems.operations import Operation, SlotOperations
from archzero_lab.systems.work import Countable

_READS = ("detail", "list", "filter", "search", "graph", "relationships")
_WRITES = ("create", "edit", "rename", "relate", "import", "delete")
COUNTABLE = Countable(
    {**dict.fromkeys(_READS, False), **dict.fromkeys(_WRITES, True)},
    tag=REQUEST_TAG,
    background=(":heartbeat", ":usage", ":epoch"),
    exact_bytes=_READS,
    # no entry expires, no machine is too slow for Redis to be believed, and the outbox is cleared before or after
    cache={"ttl_jitter": 0.0, "timeout_s": 5.0, "licence_s": 60.0, "lease_s": 60.0, "outbox_period_s": 3_600.0},
)
_HOLDS = {"graph": b'"edges"', "relationships": b'"totalRelation"'}
_IMPORTED = 25
_JSON = (("Content-Type", "application/json"),)
_LINES = (("Content-Type", "application/x-ndjson"),)


def work_operations(kind: str, catalog: Catalog, requests: int, seed: int) -> SlotOperations:
    """So many operations of a kind, each another one, from a seed; of a write some more to warm up."""
    if kind in ("detail", "list", "filter", "search"):
        operations = slot_operations(kind, catalog, distinct=requests, requests=1, seed=seed, block=0).warm_up
        return SlotOperations(operations, operations)
    rng = random.Random(f"work {kind} {seed}")
    if kind in ("graph", "relationships"):
        cards = catalog.ids[:requests]
        path = "/api/v1/graph?center_card_id={}&depth=2" if kind == "graph" else "/api/v1/relationships?card_id={}"
        reads = [Operation(path.format(card), kind, _HOLDS[kind]) for card in cards]
        return SlotOperations(reads, reads)
    # each write has cards of its own: what is edited twice is another thing than what is edited once
    first = requests * 2 * _WRITES.index(kind)
    cards = catalog.ids[first : first + requests * 2]
    made = [_WRITE[kind](rng, cards, number) for number in range(requests * 2)]
    return SlotOperations(made[:requests], made[requests:])


def _create(rng: random.Random, cards: list[str], number: int) -> Operation:
    body = {"name": f"Counted application {number:04d}", "type": "Application", "description": "Counted."}
    return _sent("POST", "/api/v1/cards", "create", body, 201)


def _edit(rng: random.Random, cards: list[str], number: int) -> Operation:
    return _sent("PUT", f"/api/v1/cards/{cards[number]}", "edit", {"qualityScore": rng.randrange(10, 99)}, 200)


def _rename(rng: random.Random, cards: list[str], number: int) -> Operation:
    return _sent("PUT", f"/api/v1/cards/{cards[number]}", "rename", {"name": f"Counted renamed {number:04d}"}, 200)


def _relate(rng: random.Random, cards: list[str], number: int) -> Operation:
    body = {"fromCardId": cards[number], "toCardId": cards[number - 1], "relationshipType": "dependsOn"}
    return _sent("POST", "/api/v1/relationships", "relate", body, 201)


def _import(rng: random.Random, cards: list[str], number: int) -> Operation:
    rows = [
        {"id": str(uuid.UUID(int=rng.getrandbits(128), version=4)), "name": f"Counted risk {number:04d} {row:02d}",
         "type": "Risk"}
        for row in range(_IMPORTED)
    ]  # fmt: skip
    body = "\n".join(map(json.dumps, rows)).encode()
    return Operation("/api/v1/import", "import", method="POST", headers=_LINES, body=body, status=201)


def _delete(rng: random.Random, cards: list[str], number: int) -> Operation:
    return Operation(f"/api/v1/cards/{cards[number]}", "delete", method="DELETE", status=204)


_WRITE: dict[str, Callable[[random.Random, list[str], int], Operation]] = {
    "create": _create, "edit": _edit, "rename": _rename, "relate": _relate, "import": _import, "delete": _delete,
}  # fmt: skip


def _sent(method: str, path: str, kind: str, body: Mapping[str, object], status: int) -> Operation:
    return Operation(
        path, kind, method=method, headers=_JSON, body=json.dumps(body).encode(), status=status
    )  # fmt: skip
