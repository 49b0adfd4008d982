"""What a field may be, in words: the contract's shapes tell it by regular expressions and the names of types."""

from __future__ import annotations

import re
from enum import StrEnum

from archzero_lab.systems.arczero.cards.model import CardStatus, CardType, LifecyclePhase, RelationshipType

_VALUES: dict[str, type[StrEnum]] = {
    "type": CardType, "lifecyclePhase": LifecyclePhase, "status": CardStatus, "relationshipType": RelationshipType,
}  # fmt: skip
_PATTERN = re.compile(r"matching regex '[^']*'")


def named_field(reason: str) -> tuple[str, str]:
    """(field, reason) of a reason of our own such as "name: is blank"; no field where it names none."""
    field, colon, rest = reason.partition(": ")
    return (field, rest) if colon and field.isidentifier() else ("", reason)


def in_words(field: str, reason: str) -> str:
    """A reason of msgspec's as a person reads it.

    >>> in_words("status", "Invalid enum value 'gone'")
    "Invalid enum value 'gone'; known: active, draft, inactive, archived"
    """
    without = "without a comma or the character U+0000" if field.startswith("tags") else "without the character U+0000"
    reason = _PATTERN.sub(without, reason)
    values = _VALUES.get(field.rpartition(".")[2])
    if values is not None and reason.startswith("Invalid enum value"):
        reason += f"; known: {', '.join(values)}"
    return reason
