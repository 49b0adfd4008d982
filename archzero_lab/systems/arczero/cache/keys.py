"""Cache keys: of validated values alone, hashed where a user's text is in them; generations, dependencies, sequence."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import astuple, dataclass
from enum import StrEnum
from itertools import count

import msgspec
from redis.crc import key_slot

from archzero_lab.systems.arczero.cards.model import CardFilter, GraphQuery, RelationshipFilter

CLUSTER_TAGS = 16
"""In a Cluster entries are spread over so many hash tags, and those evenly over the slots: an entry and its generation
share one, no server has all."""
_SLOTS = 16_384


class Kind(StrEnum):
    """What an entry holds; each kind has its TTL, its counters and its generation."""

    CARD = "card"
    LIST = "list"
    SEARCH = "search"
    GRAPH = "graph"
    RELATIONSHIPS = "relationships"


@dataclass(frozen=True, slots=True)
class Key:
    """Where an entry lives (`slot`) and the keys of what it must carry to be valid: a generation, a sequence number."""

    kind: Kind
    slot: str
    generation: str
    sequence: str
    packed: bytes
    """The names that a read asks for, as MGET takes them: generation and slot; of what has dependencies also the
    sequence number and `moved`."""


class Keyspace:
    """All keys of one service in one Redis, under a namespace, so that several can share it.

    >>> Keyspace("azl").card(uuid.UUID(int=1)).slot
    'azl:card:00000000000000000000000000000001'
    """

    def __init__(self, namespace: str, *, clustered: bool = False) -> None:
        self.namespace = namespace
        self.epoch = f"{namespace}:epoch"
        self.tags = _even_tags(namespace) if clustered else [namespace]
        self.usage = f"{self.tags[0]}:usage"
        self._generations = {kind: [f"{tag}:{kind.value}:generation" for tag in self.tags] for kind in Kind}
        self.dependencies = f"{namespace}:d:"
        """What the key of a dependency begins with; its name follows."""
        self.sequence = f"{namespace}:sequence"
        self.writers = self.sequence + ":writers"
        self.moved = self.sequence + ":moved"
        """Another number after each announcement and each telling: while it stands, every dependency does."""
        self.position = self.sequence + ":position"
        """Up to where in the database's history Redis has been told; see told_position."""
        self.exact = not clustered
        """Whether entries have dependencies; in a Cluster those would be in other slots, and each kind is one whole."""
        self._kind_of = {name: kind for kind, names in self._generations.items() for name in names}
        beside = self.tags if clustered else [f"{namespace}:{kind.value}" for kind in Kind]
        self.heartbeats = [name + ":heartbeat" for name in beside]
        """Keys of heartbeats, beside those that an invalidation writes: of the very names; in a Cluster one a tag."""
        self._number_of = {tag: number for number, tag in enumerate(self.tags)}
        self.epochs = [tag + ":epoch" for tag in self.tags]
        """In a Cluster: what each tag has of the epoch; see members."""

    def card(self, card_id: uuid.UUID) -> Key:
        """The key of one card."""
        return self._key(Kind.CARD, card_id.hex)

    def depends(self, key: Key) -> bool:
        """Whether an entry has dependencies. A card has none: every write of it goes through its slot."""
        return self.exact and key.kind is not Kind.CARD

    def cards(self, question: CardFilter) -> Key:
        """The key of a list, or of a search where the question has text in it. Every field counts."""
        return self._hashed(Kind.LIST if question.q is None else Kind.SEARCH, astuple(question))

    def graph(self, query: GraphQuery) -> Key:
        """The key of a neighbourhood."""
        return self._hashed(Kind.GRAPH, astuple(query))

    def graph_stats(self) -> Key:
        """The key of the counts over the whole graph."""
        return self._hashed(Kind.GRAPH, ("stats",))

    def relationships(self, question: RelationshipFilter) -> Key:
        """The key of a list of relationships."""
        return self._hashed(Kind.RELATIONSHIPS, astuple(question))

    def generations(self, kind: Kind) -> list[str]:
        """The keys that hold the generations of a kind: one, or in a Cluster one a shard."""
        return self._generations[kind]

    def kind_of_generation(self, name: str) -> Kind | None:
        """The kind whose generation a key holds, None for another key."""
        return self._kind_of.get(name)

    def prefix(self, kind: Kind) -> str:
        """What all slots of a kind begin with (outside a Cluster)."""
        return f"{self.namespace}:{kind.value}:"

    def tag_of(self, name: str) -> int:
        """The number of the tag that a key of a Cluster has."""
        return self._number_of[name[: name.index("}") + 1]]

    def _hashed(self, kind: Kind, values: tuple[object, ...]) -> Key:
        return self._key(kind, hashlib.blake2b(msgspec.json.encode(values), digest_size=16).hexdigest())

    def _key(self, kind: Kind, name: str) -> Key:
        number = int(name[-2:], 16) % len(self.tags)
        generation = self._generations[kind][number]
        sequence = self.sequence if self.exact else generation + ":sequence"
        slot = f"{self.tags[number]}:{kind.value}:{name}"
        names = packed(generation) + packed(slot)
        if self.exact and kind is not Kind.CARD:
            names += packed(sequence) + packed(self.moved)
        return Key(kind, slot, generation, sequence, names)


def _even_tags(namespace: str) -> list[str]:
    """Hash tags of which each is in its own sixteenth of the slots, whoever has those."""
    tags = []
    for number in range(CLUSTER_TAGS):
        tried = (f"{namespace}:{number}.{n}" for n in count())
        in_reach = (tag for tag in tried if key_slot(tag.encode()) * CLUSTER_TAGS // _SLOTS == number)
        tags.append(f"{{{next(in_reach)}}}")
    return tags


def packed(name: str | bytes) -> bytes:
    """An argument of a Redis command as it goes out."""
    name = name.encode() if isinstance(name, str) else name
    return b"$%d\r\n%b\r\n" % (len(name), name)
