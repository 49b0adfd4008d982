"""What an action asks for, and what a right answer holds: the same calls for users who think and for open arrivals."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from catalog import Catalog
from mix import IMPORTED_CARDS, WEIGHTS


@dataclass(frozen=True)
class Call:
    """One request. A right answer has `status` and holds every text of `expected`; `status` 0 takes any below 500."""

    name: str
    path: str
    expected: tuple[str, ...] = ()
    method: str = "GET"
    status: int = 200
    body: str | None = None
    media_type: str = "application/json"
    headers: dict[str, str] | None = None


def what_is_wrong(call: Call, status: int, text: str) -> str | None:
    """Why an answer is not the one asked for (a fast wrong answer is a failure); None where it is."""
    if call.status == 0:
        return None if 0 < status < 500 else f"status {status}"
    if status != call.status:
        return f"status {status}"
    missing = next((part for part in call.expected if part not in text), None)
    return None if missing is None else f"the answer does not hold {missing[:60]}"


_PAGE = ('"data":[', '"totalRelation":"')


def open_card(rng: random.Random, catalog: Catalog) -> list[Call]:
    """The detail of a card."""
    card = catalog.cards.draw(rng)
    return [Call("open card", f"/api/v1/cards/{card}", (f'"id":"{card}"',))]


def browse_list(rng: random.Random, catalog: Catalog) -> list[Call]:
    """A page of the list, the first by far the most often."""
    page = min(int(rng.paretovariate(1.2)), 50)
    return [Call("browse list", f"/api/v1/cards?page={page}&pageSize=20", (*_PAGE, f'"page":{page}'))]


def filter_list(rng: random.Random, catalog: Catalog) -> list[Call]:
    """The list of a type, of a phase, or of both."""
    kind, phase = catalog.types.draw(rng), catalog.phases.draw(rng)
    query = rng.choice((f"type={kind}", f"lifecyclePhase={phase}", f"type={kind}&lifecyclePhase={phase}"))
    return [Call("filter list", f"/api/v1/cards?{query}", _PAGE)]


def search(rng: random.Random, catalog: Catalog) -> list[Call]:
    """Two searches of a word as it is typed: its first three letters, then all of it."""
    word = catalog.words.draw(rng)
    return [Call("search by typing", f"/api/v1/search?q={quote(text)}", _PAGE) for text in (word[:3], word)]


def walk_graph(rng: random.Random, catalog: Catalog) -> list[Call]:
    """What lies around a card."""
    card = catalog.cards.draw(rng)
    depth = rng.choice((1, 1, 2))
    return [Call("walk graph", f"/api/v1/graph?center_card_id={card}&depth={depth}", (card,))]


def read_relationships(rng: random.Random, catalog: Catalog) -> list[Call]:
    """The relationships of a card."""
    card = catalog.cards.draw(rng)
    return [Call("read relationships", f"/api/v1/relationships?card_id={card}", _PAGE)]


def edit_card(rng: random.Random, catalog: Catalog) -> list[Call]:
    """Change the quality score of a card; the answer holds the new one."""
    card, score = catalog.cards.draw(rng), rng.randint(0, 100)
    expected = (f'"id":"{card}"', f'"qualityScore":{score}')
    return [Call("edit card", f"/api/v1/cards/{card}", expected, "PUT", body=json.dumps({"qualityScore": score}))]


def import_batch(rng: random.Random, catalog: Catalog) -> list[Call]:
    """A few new cards at once."""
    batch = uuid.uuid4()  # not from the seed: two runs of one seed may import into one database
    rows = [
        {"name": f"Load test {batch} {number}", "type": catalog.types.draw(rng)} for number in range(IMPORTED_CARDS)
    ]
    body = "".join(json.dumps(row) + "\n" for row in rows)
    expected = (f'"imported":{IMPORTED_CARDS}',)
    return [Call("import batch", "/api/v1/import", expected, "POST", 201, body, "application/x-ndjson")]


Action = Callable[[random.Random, Catalog], list[Call]]
ACTIONS: dict[str, Action] = {
    "open card": open_card,
    "browse list": browse_list,
    "filter list": filter_list,
    "search by typing": search,
    "walk graph": walk_graph,
    "read relationships": read_relationships,
    "edit card": edit_card,
    "import batch": import_batch,
}
_NAMES, _WEIGHTS = list(WEIGHTS), list(WEIGHTS.values())


def draw(rng: random.Random, catalog: Catalog) -> list[Call]:
    """The calls of one action of the mix, one after the other."""
    return ACTIONS[rng.choices(_NAMES, _WEIGHTS)[0]](rng, catalog)
