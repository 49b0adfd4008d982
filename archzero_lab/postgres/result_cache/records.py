"""A result as it is kept: what PostgreSQL sent, with the names and types of its columns; no objects of Python."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.pq import ExecStatus

_HEAD = struct.Struct("!HIB")
_COLUMN = struct.Struct("!IihH")
_LENGTH = struct.Struct("!i")
_NULL = -1


@dataclass(frozen=True)
class KeptColumn:
    """Name, type's oid, modifier and size, as libpq tells them."""

    name: bytes
    type: int
    modifier: int
    size: int


class KeptResult:
    """What a cursor asks of a result of libpq's, from bytes that were kept."""

    status = ExecStatus.TUPLES_OK

    def __init__(self, columns: Sequence[KeptColumn], rows: Sequence[tuple[bytes | None, ...]], format: int) -> None:
        self.columns = columns
        self.rows = rows
        self.format = format
        self.nfields, self.ntuples = len(columns), len(rows)
        self.command_tuples = self.ntuples
        self.command_status = b"SELECT %d" % self.ntuples

    def fname(self, column: int) -> bytes:
        """A column's name."""
        return self.columns[column].name

    def ftype(self, column: int) -> int:
        """The oid of its type."""
        return self.columns[column].type

    def fmod(self, column: int) -> int:
        """Its modifier: a length or a precision."""
        return self.columns[column].modifier

    def fsize(self, column: int) -> int:
        """Its size in bytes; negative where that differs."""
        return self.columns[column].size

    def fformat(self, column: int) -> int:
        """0 text, 1 binary."""
        return self.format

    def get_value(self, row: int, column: int) -> bytes | None:
        """A value as PostgreSQL sent it."""
        return self.rows[row][column]


def encode(result: Any) -> bytes:
    """A result of libpq's as bytes."""
    parts = [_HEAD.pack(result.nfields, result.ntuples, result.fformat(0) if result.nfields else 0)]
    for column in range(result.nfields):
        name = result.fname(column) or b""
        parts.append(_COLUMN.pack(result.ftype(column), result.fmod(column), result.fsize(column), len(name)))
        parts.append(name)
    for row in range(result.ntuples):
        for column in range(result.nfields):
            value = result.get_value(row, column)
            parts.append(_LENGTH.pack(_NULL if value is None else len(value)))
            if value is not None:
                parts.append(bytes(value))
    return b"".join(parts)


def decode(kept: bytes) -> KeptResult:
    """What `encode` made. Raises struct.error for bytes that are none."""
    fields, tuples, format = _HEAD.unpack_from(kept)
    at = _HEAD.size
    columns = []
    for _ in range(fields):
        type, modifier, size, length = _COLUMN.unpack_from(kept, at)
        at += _COLUMN.size
        columns.append(KeptColumn(kept[at : at + length], type, modifier, size))
        at += length
    rows = []
    for _ in range(tuples):
        row: list[bytes | None] = []
        for _ in range(fields):
            (length,) = _LENGTH.unpack_from(kept, at)
            at += _LENGTH.size
            row.append(None if length == _NULL else kept[at : at + length])
            at += max(length, 0)
        rows.append(tuple(row))
    return KeptResult(columns, rows, format)
