"""A statement under a name, with its values: what is explained, and measured with and without an index."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """SQL with the values of its parameters ($1, $2, …); `part` tells what of an answer it is for (page, count).

    `role`: as whom it is run, where that is not the database's owner.
    """

    name: str
    sql: str
    values: tuple[str | None, ...] = ()
    part: str = ""
    role: str = ""
