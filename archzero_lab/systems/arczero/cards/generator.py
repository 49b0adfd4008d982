"""A realistic portfolio from a seed: Zipf words, skewed types and owners, a scale-free dependency graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archzero_lab.systems.arczero.cards.model import CardType, LifecyclePhase, RelationshipType

CHUNK = 10_000
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_EPOCH_US = 1_609_459_200_000_000  # 2021-01-01
_SPAN_US = 5 * 365 * 86_400_000_000

_ONSETS = "b br c ch cl cr d dr f fl g gr h j k l m n p pl pr qu r s sc sh sl st t tr v w z".split()
_VOWELS = "a e i o u ai ea io ou".split()
_CODAS = "n r s t l m x nd rt ck ng th st".split()
_KNOWN = (
    "service platform data customer payment order account billing gateway analytics portal risk policy report "
    "identity access cloud storage network mobile core legacy partner product catalog inventory shipping claims "
    "audit compliance security messaging event stream batch archive document workflow case contract supplier "
    "finance ledger tax payroll people talent learning campaign pricing quote sales marketing support ticket "
    "asset license vendor capacity monitoring backup recovery integration interface adapter broker registry "
    "directory search index cache queue scheduler engine rules model forecast planning budget procurement "
    "treasury trading settlement clearing card loan deposit mortgage fraud screening onboarding consent privacy "
    "retention region"
).split()
_TAGS = (
    "cloud onprem saas critical legacy pci gdpr sox java python dotnet go node postgres oracle kafka kubernetes "
    "internal external customer-facing batch realtime mobile web api vendor deprecated strategic tolerate invest "
    "migrate eliminate emea apac amer finance hr sales ops security data ml"
).split()
_TYPE_WEIGHTS = [10, 4, 24, 10, 22, 4, 2, 4, 2, 2, 4, 5, 3, 1, 1, 2]
_PHASE_WEIGHTS = [6, 5, 8, 10, 8, 48, 8, 7]
_RELATION_WEIGHTS = [24, 28, 5, 6, 8, 4, 8, 6, 3, 4, 3, 1]


@dataclass(frozen=True)
class GeneratedPortfolio:
    """The same seed and number of cards give the same rows, byte for byte.

    `cards` cards and twice as many relationships, as lines of COPY's text format (columns as in
    cards.loading), in chunks of at most CHUNK rows.
    """

    seed: int
    cards: int

    @property
    def relationships(self) -> int:
        """How many relationships there are."""
        return 2 * self.cards

    @property
    def in_words(self) -> str:
        """How many cards."""
        return f"{self.cards:,} cards"

    @property
    def label(self) -> str:
        """A name for this portfolio that a database can carry."""
        return f"generated, seed {self.seed}, {self.cards} cards"

    def card_chunks(self) -> Iterator[bytes]:
        """COPY lines of all cards."""
        words = vocabulary()
        for start in range(0, self.cards, CHUNK):
            yield self._cards(start, min(CHUNK, self.cards - start), words)

    def relationship_chunks(self) -> Iterator[bytes]:
        """COPY lines of all relationships: sources uniform, targets by a power law, none to itself."""
        for start in range(0, self.relationships, CHUNK):
            yield self._relationships(start, min(CHUNK, self.relationships - start))

    def _rng(self, kind: int, start: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, kind, start])

    def _cards(self, start: int, count: int, words: list[str]) -> bytes:
        rng = self._rng(1, start)
        ids = hex_ids(self.seed, np.arange(start, start + count, dtype=np.uint64))
        ranks = zipf_ranks(rng, len(words), (count, 33)).tolist()
        types = _choose(rng, [t.value for t in CardType], _TYPE_WEIGHTS, count)
        phases = _choose(rng, [p.value for p in LifecyclePhase], _PHASE_WEIGHTS, count)
        quality = np.clip(rng.normal(68, 17, count), 0, 100).astype(int).tolist()
        owner_count = max(8, self.cards // 400)
        owners = hex_ids(self.seed + 1, zipf_ranks(rng, owner_count, count).astype(np.uint64))
        created_us = _EPOCH_US + rng.integers(0, _SPAN_US, count)
        created = _timestamps(created_us)
        updated = _timestamps(created_us + rng.integers(0, 90 * 86_400_000_000, count))
        tag_counts = rng.integers(0, 5, count).tolist()
        tag_ranks = zipf_ranks(rng, len(_TAGS), (count, 4)).tolist()
        statuses = _choose(rng, ["active", "draft", "inactive", "archived"], [92, 3, 3, 2], count)
        vendors = zipf_ranks(rng, 300, count).tolist()
        costs = (np.exp(rng.normal(10.5, 1.2, count))).astype(int).tolist()
        tiers = rng.integers(1, 5, count).tolist()
        regions = _choose(rng, ["emea", "apac", "amer", "global"], [4, 2, 3, 1], count)
        lines = []
        for i in range(count):
            row = ranks[i]
            name = f"{words[row[0]].title()} {words[row[1]]} {words[row[2]]} {start + i}"
            text = " ".join([words[j] for j in row[3:]])
            tags = '","'.join(dict.fromkeys(_TAGS[j] for j in tag_ranks[i][: tag_counts[i]]))
            lines.append(
                f"{ids[i]}\t{name}\t{types[i]}\t{phases[i]}\t{quality[i]}\t{text.capitalize()}.\t{owners[i]}\t"
                f'{created[i]}\t{updated[i]}\t{{"vendor":"vendor-{vendors[i]}","annualCost":{costs[i]},'
                f'"tier":{tiers[i]},"region":"{regions[i]}"}}\t'
                + (f'["{tags}"]' if tags else "[]")
                + f"\t{statuses[i]}\n"
            )
        return "".join(lines).encode()

    def _relationships(self, start: int, count: int) -> bytes:
        rng = self._rng(2, start)
        ids = hex_ids(self.seed + 2, np.arange(start, start + count, dtype=np.uint64))
        source = rng.integers(0, self.cards, count)
        # rank ~ n * u^3 gives a degree tail like that of preferential attachment, without walking the graph
        hub = (self.cards * rng.random(count) ** 3).astype(np.int64)
        target = (hub * 7_919 + self.seed) % self.cards
        target = np.where(target == source, (target + 1) % self.cards, target)
        sources = hex_ids(self.seed, source.astype(np.uint64))
        targets = hex_ids(self.seed, target.astype(np.uint64))
        kinds = _choose(rng, [t.value for t in RelationshipType], _RELATION_WEIGHTS, count)
        confidence = np.round(rng.beta(8, 2, count), 2).tolist()
        created_us = _EPOCH_US + rng.integers(0, _SPAN_US, count)
        created = _timestamps(created_us)
        return "".join(
            [
                f"{ids[i]}\t{sources[i]}\t{targets[i]}\t{kinds[i]}\t{created[i][:10]}\t\\N\t{{}}\t{confidence[i]}\t"
                f"{created[i]}\n"
                for i in range(count)
            ]
        ).encode()


def vocabulary() -> list[str]:
    """Some 5,000 words, the commonest those of enterprise architecture, the rest made of syllables."""
    rng = np.random.default_rng(20_260_113)
    words = dict.fromkeys(_KNOWN)
    while len(words) < 5_000:
        syllables = int(rng.integers(2, 4))
        word = "".join(
            _ONSETS[rng.integers(len(_ONSETS))] + _VOWELS[rng.integers(len(_VOWELS))] for _ in range(syllables)
        )
        words[word + _CODAS[rng.integers(len(_CODAS))]] = None
    return list(words)


def zipf_ranks(
    rng: np.random.Generator, items: int, shape: int | tuple[int, ...], exponent: float = 1.0
) -> NDArray[np.int64]:
    """Ranks 0..items-1 drawn by Zipf's law with `exponent` over a finite number of items."""
    weights = 1.0 / np.arange(1, items + 1) ** exponent
    cumulative = np.cumsum(weights) / weights.sum()
    return np.minimum(np.searchsorted(cumulative, rng.random(shape)), items - 1).astype(np.int64)


def hex_ids(seed: int, numbers: NDArray[np.uint64]) -> list[str]:
    """UUIDs (version 4 layout, 32 hex digits) that are a function of seed and number alone.

    Two rounds of splitmix64 (Steele et al. 2014); distinct numbers give distinct ids.
    """
    high = _splitmix64(numbers + np.uint64(seed * int(_GOLDEN) % 2**64))
    low = _splitmix64(high ^ numbers)
    high = (high & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x4000)
    low = (low & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    text = np.stack([high, low], axis=1).astype(">u8").tobytes().hex()
    return [text[i : i + 32] for i in range(0, len(text), 32)]


def _splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _choose(rng: np.random.Generator, values: list[str], weights: list[int], count: int) -> list[str]:
    cumulative = np.cumsum(weights) / sum(weights)
    return [values[i] for i in np.searchsorted(cumulative, rng.random(count))]


def _timestamps(microseconds: NDArray[np.int64]) -> list[str]:
    text: list[str] = np.datetime_as_string(microseconds.astype("datetime64[us]"), timezone="UTC").tolist()
    return text
