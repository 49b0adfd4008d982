"""Inventories in the card contract: JSON Lines or CSV, gzip or not, each line checked, the first fault named."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from archzero_lab.errors import InventoryError
from archzero_lab.systems.arczero.cards.csv_rows import csv_objects
from archzero_lab.systems.arczero.cards.field_errors import in_words, named_field
from archzero_lab.systems.arczero.cards.model import MAX_CARD_BYTES, CardRow, RelationshipDraft

MAX_BYTES = 1024 * 2**20
"""Of an inventory, unpacked: about a million cards with long descriptions."""
_LINE = re.compile(r"([^\n]*)\n?")
Row = TypeVar("Row", CardRow, RelationshipDraft)


def read_inventory(path: Path, shape: type[Row]) -> list[Row]:
    """All rows of a file of CardRow or RelationshipDraft.

    `.csv` and `.csv.gz` are CSV with the contract's names in the header; everything else is JSON Lines.
    Raises InventoryError with file, line, field and reason at the first line that is wrong.
    """
    try:
        raw = _unpacked(path)
        text = raw.decode("utf-8")
    except (OSError, EOFError, zlib.error) as error:
        raise InventoryError(f"cannot read {path}: {error}") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InventoryError(f"{path.name} line {line}: not UTF-8; save the file as UTF-8 (Excel: CSV UTF-8)") from None
    name = path.name.removesuffix(".gz")
    rows = list(parse_rows(text, shape, is_csv=name.endswith(".csv"), where=path.name))
    if not rows:
        raise InventoryError(f"{path.name} holds no row; give a file with at least one")
    return rows


def _unpacked(path: Path) -> bytes:
    """The file's bytes, of gzip or not. Raises InventoryError above the limit, however small the file is."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with gzip.open(file) if zipped else nullcontext(file) as plain:
            raw: bytes = plain.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise InventoryError(f"{path.name} holds more than {MAX_BYTES // 2**20} MB; load it in parts")
    return raw


def parse_rows(text: str, shape: type[Row], *, is_csv: bool, where: str) -> Iterator[Row]:
    """Rows of JSON Lines or CSV text. Raises InventoryError as read_inventory does, and for a repeated key."""
    return (row for row in parse_lines(text, shape, is_csv=is_csv, where=where) if row is not None)


def parse_lines(text: str, shape: type[Row], *, is_csv: bool, where: str) -> Iterator[Row | None]:
    """As parse_rows, with None for a line that holds no row: who reads in slices may end one at any line."""
    text = text.removeprefix("\ufeff")  # Excel's first character
    lines = csv_objects(text, _fields(shape), where) if is_csv else _json_lines(text)
    decoder = msgspec.json.Decoder(shape)
    seen: dict[Any, int] = {}
    for number, line in lines:
        if not line:
            yield None
            continue
        if len(line) > MAX_CARD_BYTES:
            raise InventoryError(
                f"{where} line {number}: field (whole line): {len(line):,} bytes; one has {MAX_CARD_BYTES:,} at most"
            )
        try:
            row = _decoded(decoder, line, shape)
        except msgspec.ValidationError as error:
            reason, _, at = str(error).partition(" - at `$")
            field = at.strip("`.") or _named_field(reason)
            if not field:
                field, reason = named_field(reason)
            message = in_words(field, reason)
            raise InventoryError(f"{where} line {number}: field {field or '(whole line)'}: {message}") from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise InventoryError(f"{where} line {number}: field (whole line): not JSON: {error}") from None
        for key in _keys(row):
            if first := seen.get(key):
                raise InventoryError(
                    f"{where} line {number}: field {key[0]}: the same as in line {first}; each must be there once"
                )
            seen[key] = number
        yield row


def _decoded(decoder: msgspec.json.Decoder[Row], line: bytes, shape: type[Row]) -> Row:
    """A row; null for an optional field is taken as left out, as exports write it."""
    try:
        return decoder.decode(line)
    except msgspec.ValidationError:
        given = msgspec.json.decode(line)
        if not isinstance(given, dict) or None not in given.values():
            raise
        return msgspec.convert({name: value for name, value in given.items() if value is not None}, shape)


def _fields(shape: type[Row]) -> list[str]:
    """The names of a shape's fields, as the contract writes them."""
    return [field.encode_name for field in msgspec.structs.fields(shape)]


def _keys(row: CardRow | RelationshipDraft) -> Iterator[tuple[Any, ...]]:
    if isinstance(row, CardRow):
        yield ("name", row.type, row.name)
    else:
        yield ("toCardId", row.from_card_id, row.to_card_id, row.relationship_type, row.valid_from)
    if row.id is not None:
        yield ("id", row.id)


def _json_lines(text: str) -> Iterator[tuple[int, bytes]]:
    for number, match in enumerate(_LINE.finditer(text), 1):
        line = match[1]
        yield number, line.encode() if line.strip() else b""


def _named_field(reason: str) -> str:
    """The field that a message such as 'Object missing required field `name`' names."""
    match = re.search(r"field `([^`]+)`", reason)
    return match.group(1) if match else ""
