"""A real inventory repeated up to a number of cards: fresh ids, recombined texts, the same shape of graph."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import msgspec

from archzero_lab.errors import InventoryError
from archzero_lab.systems.arczero.cards.model import (
    LONGEST_DESCRIPTION,
    LONGEST_NAME,
    CardRow,
    CardType,
    RelationshipDraft,
)

_CHUNK = 10_000
_START = dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
_STEP = dt.timedelta(seconds=29)
_UUID_BITS = (1 << 48) - 1
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class ReplicatedInventory:
    """The inventory's own cards first, then copies of it until there are `cards` (fewer cut it short).

    A copy keeps type, phase, quality, owner, tags and attributes; its name gets the copy's number and a word
    of another card, its description the second half of another card's of the same type. Relationships are
    repeated within each copy, those whose cards were cut are left out. The same input, seed and number of
    cards give the same rows.
    """

    card_rows: list[CardRow]
    relationship_rows: list[RelationshipDraft]
    seed: int
    cards: int
    name: str
    _ids: list[int] = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        ids = [(row.id or uuid.UUID(int=rng.getrandbits(128), version=4)).int for row in self.card_rows]
        object.__setattr__(self, "_ids", ids)
        known = set(ids)
        for number, row in enumerate(self.relationship_rows, 1):
            for end, value in (("fromCardId", row.from_card_id), ("toCardId", row.to_card_id)):
                if value.int not in known:
                    raise InventoryError(
                        f"relationships row {number}: field {end}: {value} is not a card of the inventory"
                    )

    @property
    def in_words(self) -> str:
        """How many cards, and what that is of the inventory."""
        held = len(self.card_rows)
        if self.cards > held:
            return f"{self.cards:,} cards (the inventory's {held:,}, repeated with names of their own)"
        return f"{self.cards:,} cards" + (f" (the first of the inventory's {held:,})" if self.cards < held else "")

    @property
    def label(self) -> str:
        """A name for this inventory that a database can carry; it changes with the content."""
        digest = hashlib.sha256(msgspec.json.encode([self.card_rows, self.relationship_rows])).hexdigest()[:12]
        return f"{self.name} {digest}, seed {self.seed}, {self.cards} cards"

    def card_chunks(self) -> Iterator[bytes]:
        """COPY lines of all cards (columns as in cards.loading)."""
        rng = random.Random(self.seed + 1)
        by_type: dict[str, list[int]] = defaultdict(list)
        for i, row in enumerate(self.card_rows):
            by_type[row.type].append(i)
        taken = {(row.type, row.name) for row in self.card_rows}
        fixed = [
            (
                f"\t{row.type.value}\t{row.lifecycle_phase.value}\t{row.quality_score}\t",
                row.owner_id.hex if row.owner_id else "\\N",
                _escape(msgspec.json.encode(row.attributes).decode()),
                _escape(msgspec.json.encode(row.tags).decode()),
                row.status.value,
            )
            for row in self.card_rows
        ]
        # creation times in random order, or a keyset page would follow the file's order
        order = list(range(self.cards))
        rng.shuffle(order)
        lines: list[str] = []
        for position in range(self.cards):
            copy, i = divmod(position, len(self.card_rows))
            row = self.card_rows[i]
            name, description = row.name, row.description
            if copy:
                other = self.card_rows[rng.choice(by_type[row.type])]
                name = _copied_name(row, copy, i, other.name.split(" ")[0], taken)
                description = _recombined(description, other.description)[:LONGEST_DESCRIPTION]
            created = (row.created_at if row.created_at and not copy else None) or _START + order[position] * _STEP
            updated = row.updated_at if row.updated_at and not copy else created
            before, owner, attributes, tags, status = fixed[i]
            lines.append(
                f"{_fresh(self._ids[i], copy):032x}\t{_escape(name)}{before}{_escape(description)}\t{owner}\t"
                f"{created.isoformat()}\t{updated.isoformat()}\t{attributes}\t{tags}\t{status}\n"
            )
            if len(lines) == _CHUNK:
                yield "".join(lines).encode()
                lines = []
        if lines:
            yield "".join(lines).encode()

    def relationship_chunks(self) -> Iterator[bytes]:
        """COPY lines of the relationships of every copy whose two cards are both loaded."""
        place = {value: i for i, value in enumerate(self._ids)}
        rng = random.Random(self.seed + 2)
        fixed = [
            (
                (row.id or uuid.UUID(int=rng.getrandbits(128), version=4)).int,
                row.from_card_id.int,
                row.to_card_id.int,
                max(place[row.from_card_id.int], place[row.to_card_id.int]),
                f"\t{row.relationship_type.value}\t{row.valid_from or _NULL}\t{row.valid_to or _NULL}\t"
                f"{_escape(msgspec.json.encode(row.attributes).decode())}\t{row.confidence}\t",
                (row.created_at or _START).isoformat(),
            )
            for row in self.relationship_rows
        ]
        copies = -(-self.cards // len(self.card_rows))
        lines: list[str] = []
        for copy in range(copies):
            loaded = min(len(self.card_rows), self.cards - copy * len(self.card_rows))
            for own, source, target, last, middle, created in fixed:
                if last >= loaded:
                    continue
                ends = f"{_fresh(source, copy):032x}\t{_fresh(target, copy):032x}"
                lines.append(f"{_fresh(own, copy):032x}\t{ends}{middle}{created}\n")
                if len(lines) == _CHUNK:
                    yield "".join(lines).encode()
                    lines = []
        if lines:
            yield "".join(lines).encode()


_NULL = "\\N"


def _escape(text: str) -> str:
    return text.translate(_ESCAPES)


def _copied_name(row: CardRow, copy: int, place: int, word: str, taken: Collection[tuple[CardType, str]]) -> str:
    """The copy's name, the plain text cut so that what makes it differ stays; with its place where that was needed."""
    name = f"{row.name} #{copy} {word}"
    if len(name) <= LONGEST_NAME and (row.type, name) not in taken:
        return name
    end = f" #{copy}.{place} {word[:40]}"
    return row.name[: LONGEST_NAME - len(end)] + end


def _fresh(value: int, copy: int) -> int:
    """Another UUID for each copy: the low 48 bits (all node bits, none of version or variant) are mixed."""
    return value ^ ((copy * 0x9E3779B97F4B) & _UUID_BITS)


def _recombined(own: str, other: str) -> str:
    first, second = own.split(" "), other.split(" ")
    return " ".join([*first[: (len(first) + 1) // 2], *second[len(second) // 2 :]])
