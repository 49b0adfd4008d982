"""The ids and words that load tests ask for: from a file that the lab wrote, or read from the API itself."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections import Counter
from dataclasses import dataclass

from mix import Zipf

DISCOVERED_PAGES = 20


@dataclass(frozen=True)
class Catalog:
    """Popularity follows the order of each list."""

    cards: Zipf
    words: Zipf
    types: Zipf
    phases: Zipf


def load_catalog(host: str) -> Catalog:
    """The catalog named by ARCHZERO_CATALOG, else what the first pages of the API at `host` hold."""
    path = os.environ.get("ARCHZERO_CATALOG")
    if path:
        with open(path) as handle:
            found = json.load(handle)
        words = found["common"] + found["middling"] + found["rare"]
        return Catalog(Zipf(found["ids"]), Zipf(words), Zipf(found["types"]), Zipf(found["phases"]))
    return discover(host)


def discover(host: str) -> Catalog:
    """Read cards from the API: works on any host that speaks it. Raises RuntimeError where it holds none."""
    cards: list[dict[str, str]] = []
    for page in range(1, DISCOVERED_PAGES + 1):
        with urllib.request.urlopen(f"{host}/api/v1/cards?page={page}&pageSize=100", timeout=60) as answer:
            data = json.load(answer)["data"]
        cards += data
        if len(data) < 100:
            break
    if not cards:
        raise RuntimeError(f"{host} holds no card: load an inventory first")
    words = Counter(word for card in cards for word in re.findall(r"[A-Za-z]{4,20}", card["name"]))
    return Catalog(
        Zipf([card["id"] for card in cards]),
        Zipf([word for word, _ in words.most_common(500)]),
        Zipf([kind for kind, _ in Counter(card["type"] for card in cards).most_common()]),
        Zipf([phase for phase, _ in Counter(card["lifecyclePhase"] for card in cards).most_common()]),
    )
