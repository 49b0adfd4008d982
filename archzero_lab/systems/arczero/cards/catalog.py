"""What is really in a database: ids, words by how common they are, owners, tags; the raw material of traffic."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

_WORD = re.compile(r"[A-Za-z]{3,20}")
_SAMPLE = 3_000
MAX_IDS = 20_000


@dataclass(frozen=True)
class Catalog:
    """Values of a loaded portfolio. `ids` are in random order, which traffic takes for popularity.

    Words: `common` are in the most cards of a sample, `middling` in about 1 %, `rare` in a single one, `short` are
    two characters that common words begin with.
    """

    cards: int
    ids: list[str]
    common: list[str]
    middling: list[str]
    rare: list[str]
    short: list[str]
    types: list[str]
    phases: list[str]
    owners: list[str]
    tags: list[str]
    attributes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For the load tests' catalog file."""
        return asdict(self)


def read_catalog(connection: psycopg.Connection[tuple[Any, ...]], seed: int) -> Catalog:
    """Read a catalog; the same rows and seed give the same one. Reads a bounded sample, whatever the size."""
    rng = random.Random(f"catalog {seed}")
    total = connection.execute("SELECT count(*) FROM cards").fetchone()
    assert total is not None
    cards = int(total[0])
    # ids are random by nature: the lowest of them are a sample, and reading them needs the primary key alone
    ids = [
        str(row[0])
        for row in connection.execute(
            "SELECT id FROM (SELECT id, status FROM cards ORDER BY id LIMIT %s) c WHERE status = 'active'", [MAX_IDS]
        )
    ]
    sample = connection.execute(
        "SELECT name || ' ' || description, type, lifecycle_phase, owner_id, tags, attributes FROM"
        " (SELECT * FROM cards ORDER BY id LIMIT %s) c WHERE status = 'active'",
        [_SAMPLE],
    ).fetchall()
    documents = Counter(word for row in sample for word in {one.lower() for one in _WORD.findall(row[0])})
    # ties by the alphabet: sets come in another order in each process
    ranked = sorted(documents, key=lambda word: (-documents[word], word))
    share = {word: count / len(sample) for word, count in documents.items()}
    middling = [word for word in ranked if 0.005 <= share[word] <= 0.02 and len(word) >= 4]
    rare = [word for word in ranked if documents[word] == 1 and len(word) >= 5]
    common = ranked[:10] or ["a"]  # names of an inventory may hold no word at all
    attributes = Counter(
        f'{{"{key}":"{value}"}}' for row in sample for key, value in row[5].items() if isinstance(value, str) and value
    )
    rng.shuffle(ids)
    rng.shuffle(middling)
    rng.shuffle(rare)
    return Catalog(
        cards=cards,
        ids=ids,
        common=common,
        middling=middling[:200] or ranked[10:40] or common,
        rare=rare[:200] or ranked[-20:] or common,
        short=sorted({word[:2] for word in common}),
        types=_ranked(row[1] for row in sample),
        phases=_ranked(row[2] for row in sample),
        owners=_ranked(str(row[3]) for row in sample if row[3])[:200],
        tags=_ranked(tag for row in sample for tag in row[4])[:50],
        attributes=[text for text, _ in attributes.most_common(50) if '\\"' not in text and "'" not in text],
    )


def _ranked(values: Any) -> list[str]:
    return [value for value, _ in Counter(values).most_common()]
