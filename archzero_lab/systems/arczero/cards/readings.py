"""Names, tags and times as they are read at the door: one form for what people take for the same."""

from __future__ import annotations

import datetime as dt
import unicodedata

_YEARS = (1900, 2200)
"""Of creation times, in UTC: each has a place in an order that cursors can name, whatever its offset."""


def composed(text: str) -> str:
    """Text with one form of each letter (NFC): what looks the same is the same."""
    return unicodedata.normalize("NFC", text)


def read_text(text: str) -> str:
    """A word as people compare it: composed, no blanks around it."""
    return composed(text).strip()


def read_name(name: str) -> str:
    """A name as people compare it. Raises ValueError for a blank one."""
    read = read_text(name)
    if not read:
        raise ValueError("name: is blank")
    return read


def read_tags(tags: list[str]) -> list[str]:
    """Tags as questions ask for them. Raises ValueError for a blank one."""
    read = [read_text(tag) for tag in tags]
    if not all(read):
        raise ValueError("tags: one is blank")
    return read


def read_time(time: dt.datetime | None) -> dt.datetime | None:
    """A creation time in UTC; one without an offset is taken as that. Raises ValueError outside of _YEARS."""
    if time is None:
        return None
    first, last = _YEARS
    try:
        read = time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    except OverflowError:
        read = dt.datetime.min.replace(tzinfo=dt.UTC)
    if not first <= read.year < last:
        raise ValueError(f"createdAt: its year (and updatedAt's) must be from {first} to {last - 1} in UTC")
    return read


def require_order(valid_from: dt.date | None, valid_to: dt.date | None) -> None:
    """Raise ValueError for a time that ends before it begins."""
    if valid_from is not None and valid_to is not None and valid_to < valid_from:
        raise ValueError(f"validTo: is before validFrom, {valid_from}")
