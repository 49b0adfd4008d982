"""Operations: one request with what a right answer holds, and all requests of a slot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """One GET: its path with query, the variant of it for the tables, and bytes that a right answer holds."""

    path: str
    variant: str
    expected: bytes


@dataclass(frozen=True)
class SlotOperations:
    """What a slot does: every operation of `warm_up` once, untimed; then `timed`, drawn from those."""

    warm_up: list[Operation]
    timed: list[Operation]
