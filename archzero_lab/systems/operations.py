"""Operations: one request with what a right answer holds, and all requests of a slot."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Operation:
    """One request: its path with query, the variant of it for the tables, and what a right answer holds.

    `expected` are bytes of its body, `status` what it answers; a GET without body and headers, unless others are given.
    """

    path: str
    variant: str
    expected: bytes = b""
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    status: int = 200


@dataclass(frozen=True)
class SlotOperations:
    """What a slot does: every operation of `warm_up` once, untimed; then `timed`, drawn from those.

    `control` are operations that no difference between the arms can touch, asked after them in a report: where their
    time moves, something else than the change does it. None where a system names none.
    """

    warm_up: list[Operation]
    timed: list[Operation]
    control: tuple[Operation, ...] = ()
