"""What a field may be, in words: the contract's shapes tell it by regular expressions and the names of types."""

from __future__ import annotations

import re
from enum import StrEnum

from archzero_lab.systems.arczero.cards.model import (
    LONGEST_DESCRIPTION,
    LONGEST_NAME,
    MAX_TAGS,
    CardStatus,
    CardType,
    LifecyclePhase,
    RelationshipType,
)

VALUES: dict[str, type[StrEnum]] = {
    "type": CardType, "lifecyclePhase": LifecyclePhase, "status": CardStatus, "relationshipType": RelationshipType,
}  # fmt: skip
_TEXT = "a text"
_MAY_BE = {
    "name": f"a text of 1 to {LONGEST_NAME} letters",
    "description": f"a text of at most {LONGEST_DESCRIPTION:,} letters",
    "qualityScore": "a whole number from 0 to 100", "confidence": "a number from 0 to 1", "version": "a whole number",
    "tags": f"a list of at most {MAX_TAGS} names", "attributes": "a JSON object",
    "createdAt": "a time such as 2026-11-29T08:30:00Z", "updatedAt": "a time such as 2026-11-29T08:30:00Z",
    "validFrom": "a day such as 2026-11-29", "validTo": "a day such as 2026-11-29",
} | dict.fromkeys(
    ("id", "ownerId", "fromCardId", "toCardId"), "a UUID such as 3f0c9a5e-7f5e-4c56-9a53-0b7d5d1c2a10"
)  # fmt: skip
_KINDS = {"int": "a whole number", "str": _TEXT, "float": "a number", "array": "a list", "object": "an object",
          "bool": "true or false", "null": "null"}  # fmt: skip
_SHAPE = re.compile(
    r"Expected `[^`]+`(?: of length [<>=]+ \d+| [<>=]+ [\d.]+)?(?P<got>, got `(?P<kind>\w+)`)?$|Invalid "
)
_MISSING = re.compile(r"Object missing required field `(\w+)`$")
_PATTERN = re.compile(r"matching regex '[^']*'")


def named_field(reason: str) -> tuple[str, str]:
    """(field, reason) of a reason of our own such as "name: is blank"; no field where it names none."""
    field, colon, rest = reason.partition(": ")
    return (field, rest) if colon and field.isidentifier() else ("", reason)


def in_words(field: str, reason: str) -> str:
    """A reason of msgspec's as a person reads it.

    >>> in_words("status", "Invalid enum value 'gone'")
    "Invalid enum value 'gone'; known: active, draft, inactive, archived"
    >>> in_words("qualityScore", "Expected `int`, got `str`")
    'must be a whole number from 0 to 100, not a text'
    """
    without = "without a comma or the character U+0000" if field.startswith("tags") else "without the character U+0000"
    if missing := _MISSING.match(reason):
        return f"{missing[1]} is missing"
    if "matching regex" in reason:
        return _PATTERN.sub(without, reason).replace("Expected `str`", "must be a text")
    own = field.rpartition(".")[2]
    name, inside = own.partition("[")[0], "[" in own
    if (shape := _SHAPE.match(reason)) and own not in VALUES:
        may_be = "a text of 1 to 64 letters" if name == "tags" and inside else _MAY_BE.get(name)
        got = f", not {_KINDS.get(shape['kind'], shape['kind'])}" if shape["got"] else ""
        return f"must be {may_be}{got}" if may_be else reason
    values = VALUES.get(field.rpartition(".")[2])
    if values is not None and reason.startswith("Invalid enum value"):
        reason += f"; known: {', '.join(values)}"
    return reason
