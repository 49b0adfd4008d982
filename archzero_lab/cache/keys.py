"""Cache keys: made of validated values alone, hashed where a user's text is in them, a generation a kind."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import astuple, dataclass
from enum import StrEnum

import msgspec

from archzero_lab.cards.model import CardFilter, GraphQuery, RelationshipFilter


class Kind(StrEnum):
    """What an entry holds; each kind has its TTL, its counters and its generation."""

    CARD = "card"
    LIST = "list"
    SEARCH = "search"
    GRAPH = "graph"
    RELATIONSHIPS = "relationships"


@dataclass(frozen=True, slots=True)
class Key:
    """Where an entry lives (`slot`) and the key of the generation that it must carry to be valid."""

    kind: Kind
    slot: str
    generation: str


class Keyspace:
    """All keys of one service in one Redis, under a namespace, so that several can share it.

    >>> Keyspace("azl").card(uuid.UUID(int=1)).slot
    'azl:card:00000000000000000000000000000001'
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.usage = f"{namespace}:usage"
        self._generations = {kind: f"{namespace}:generation:{kind.value}" for kind in Kind}
        self._card_prefix = f"{namespace}:card:"

    def card(self, card_id: uuid.UUID) -> Key:
        """The key of one card."""
        return Key(Kind.CARD, self._card_prefix + card_id.hex, self._generations[Kind.CARD])

    def cards(self, question: CardFilter) -> Key:
        """The key of a list, or of a search where the question has text in it. Every field counts."""
        kind = Kind.LIST if question.q is None else Kind.SEARCH
        return self._hashed(kind, astuple(question))

    def graph(self, query: GraphQuery) -> Key:
        """The key of a neighbourhood."""
        return self._hashed(Kind.GRAPH, astuple(query))

    def graph_stats(self) -> Key:
        """The key of the counts over the whole graph."""
        return Key(Kind.GRAPH, f"{self.namespace}:graph:stats", self._generations[Kind.GRAPH])

    def relationships(self, question: RelationshipFilter) -> Key:
        """The key of a list of relationships."""
        return self._hashed(Kind.RELATIONSHIPS, astuple(question))

    def generation(self, kind: Kind) -> str:
        """The key that holds the generation of a kind."""
        return self._generations[kind]

    def _hashed(self, kind: Kind, values: tuple[object, ...]) -> Key:
        digest = hashlib.blake2b(msgspec.json.encode(values), digest_size=16).hexdigest()
        return Key(kind, f"{self.namespace}:{kind.value}:{digest}", self._generations[kind])
