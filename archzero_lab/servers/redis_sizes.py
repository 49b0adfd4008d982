"""How long a command's arguments and answers are, counted so that it is the same each time: numbers and random names
that are longer at one moment than at another count alike.
"""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(rb"(?<![0-9A-Za-z])[0-9a-f]+(?![0-9A-Za-z])|(?<=[.])[0-9]+")
"""A word of hexadecimal digits alone, a number too, and a fraction."""
_RUN = re.compile(rb"(?<![0-9][.])[0-9A-Za-z_+/-]{10,}={0,2}")
"""What a random token is written in."""
_MIXED = re.compile(rb"[0-9][0-9A-Za-z]*[g-zA-Z]|[g-zA-Z][0-9A-Za-z]*[0-9]|[a-z][A-Z]")
"""Digits beside letters that no hexadecimal number has, or capitals in the midst of a word: such a run is a token."""
_READABLE = re.compile(rb"[\t\n\r\x20-\x7e]{7,}[\t\n\r :|]")


def size_of(value: Any) -> int:
    """Bytes of an argument or an answer, its parts summed; a word of hexadecimal digits alone, a number too, is one.

    TTLs, sequence numbers and fractions of a second have more digits at one moment than at another, and a random name
    may be a number. A random token (base64, urlsafe) has always the same length, and so has what is no text: there
    short runs of digits stand by chance, and nothing of them is shortened.
    """
    if isinstance(value, bytes):
        return _length(value)
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(size_of(key) + size_of(part) for key, part in value.items())
    if isinstance(value, list | set | tuple):
        return sum(map(size_of, value))
    return 0 if value is None else 1


def _length(value: bytes) -> int:
    try:
        value.decode()
    except UnicodeDecodeError:
        head = _READABLE.match(value)  # a header before what is packed
        if head is None:
            return len(value)
        return _length(head[0]) + len(value) - head.end()
    length, at = 0, 0
    for run in _RUN.finditer(value):
        if _MIXED.search(run[0]):
            length += len(_NUMBER.sub(b"0", value[at : run.start()])) + len(run[0])
            at = run.end()
    return length + len(_NUMBER.sub(b"0", value[at:]))
