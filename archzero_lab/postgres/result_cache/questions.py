"""A statement as the cache sees it: its key, what it depends on or touches, and how values are named there."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archzero_lab.postgres.result_cache.effects import MOMENTS
from archzero_lab.postgres.result_cache.rows import Row

ROW = "r:"
"""With it begin the names of single rows, which do not last."""


@dataclass(frozen=True)
class Question:
    """A statement with its values: the key of its result and what that depends on, or what it touches.

    `session`, `transaction`: it may make its connection another one than the others, for that long.
    """

    key: str = ""
    depends: tuple[str, ...] = ()
    touches: frozenset[str] = frozenset()
    session: bool = False
    transaction: bool = False
    one_row: bool = False


def rows_last(names: Sequence[str]) -> tuple[list[str], int]:
    """Names with those of rows, which do not last, at the end; how many last."""
    ordered = sorted(names, key=lambda name: name.startswith(ROW))
    return ordered, sum(not name.startswith(ROW) for name in names)


def in_order(params: Any, order: list[str] | None) -> Sequence[Any]:
    """The values of $1, $2, … of parameters in a sequence, or by these names."""
    if params is None:
        return ()
    return [params[name] for name in order] if order is not None else list(params)


def is_moment(value: Any) -> bool:
    """Whether a text may be read as another moment each time."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return isinstance(text, str) and len(text) <= 100 and MOMENTS.search(text) is not None


def called(row: Row | None, values: Sequence[Any]) -> tuple[str, str] | None:
    """A row's table and the one name of its key; None for a value that may be written in more ways than one."""
    if row is None or row.parameter >= len(values):
        return None
    value = values[row.parameter]
    if row.uuid and isinstance(value, str):
        try:
            value = uuid.UUID(value)
        except ValueError:
            return None
    if row.uuid:
        return (row.table, str(value)) if isinstance(value, uuid.UUID) else None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return row.table, str(int(value))
    return None


def as_bytes(value: Any) -> bytes | None:
    """A value as it is sent; None is NULL."""
    return None if value is None else bytes(value)


@functools.cache
def digest_of(script: str) -> str:
    """The name by which Redis knows a script that it has seen."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def new_version() -> str:
    """A version that nothing has had."""
    return uuid.uuid4().hex[:16]
