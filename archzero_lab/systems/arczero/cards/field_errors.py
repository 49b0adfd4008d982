"""What a field may be, in words: the contract's shapes tell it by regular expressions and the names of types."""

from __future__ import annotations

import re
from enum import StrEnum

from archzero_lab.systems.arczero.cards.model import CardStatus, CardType, LifecyclePhase, RelationshipType

_VALUES: dict[str, type[StrEnum]] = {
    "type": CardType, "lifecyclePhase": LifecyclePhase, "status": CardStatus, "relationshipType": RelationshipType,
}  # fmt: skip
_PATTERN = re.compile(r"matching regex '[^']*'")


def in_words(field: str, reason: str) -> str:
    """A reason of msgspec's as a person reads it.

    >>> in_words("status", "Invalid enum value 'gone'")
    "Invalid enum value 'gone'; known: active, draft, inactive, archived"
    """
    reason = _PATTERN.sub("without the character U+0000", reason)
    values = _VALUES.get(field.rpartition(".")[2])
    if values is not None and reason.startswith("Invalid enum value"):
        reason += f"; known: {', '.join(values)}"
    return reason
