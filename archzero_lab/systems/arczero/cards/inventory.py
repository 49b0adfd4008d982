"""Inventories in the card contract: JSON Lines or CSV, gzip or not, each line checked, the first fault named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from archzero_lab.errors import InventoryError
from archzero_lab.systems.arczero.cards.model import CardRow, RelationshipDraft

Row = TypeVar("Row", CardRow, RelationshipDraft)

MAX_LINE_BYTES = 1_000_000


def read_inventory(path: Path, shape: type[Row]) -> list[Row]:
    """All rows of a file of CardRow or RelationshipDraft.

    `.csv` and `.csv.gz` are CSV with the contract's names in the header; everything else is JSON Lines.
    Raises InventoryError with file, line, field and reason at the first line that is wrong.
    """
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        text = raw.decode("utf-8")
    except (OSError, EOFError, zlib.error) as error:
        raise InventoryError(f"cannot read {path}: {error}") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InventoryError(f"{path.name} line {line}: not UTF-8; save the file as UTF-8") from None
    name = path.name.removesuffix(".gz")
    rows = list(parse_rows(text, shape, is_csv=name.endswith(".csv"), where=path.name))
    if not rows:
        raise InventoryError(f"{path.name} holds no row; give a file with at least one")
    return rows


def parse_rows(text: str, shape: type[Row], *, is_csv: bool, where: str) -> Iterator[Row]:
    """Rows of JSON Lines or CSV text. Raises InventoryError as read_inventory does, and for a repeated key."""
    lines = _csv_objects(text, where) if is_csv else _json_lines(text)
    decoder = msgspec.json.Decoder(shape)
    seen: dict[Any, int] = {}
    for number, line in lines:
        try:
            row = decoder.decode(line)
        except msgspec.ValidationError as error:
            reason, _, at = str(error).partition(" - at `$")
            field = at.strip("`.") or _named_field(reason)
            raise InventoryError(f"{where} line {number}: field {field or '(whole line)'}: {reason}") from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise InventoryError(f"{where} line {number}: field (whole line): not JSON: {error}") from None
        for key in _keys(row):
            if first := seen.get(key):
                raise InventoryError(
                    f"{where} line {number}: field {key[0]}: the same as in line {first}; each must be there once"
                )
            seen[key] = number
        yield row


def _keys(row: CardRow | RelationshipDraft) -> Iterator[tuple[Any, ...]]:
    if isinstance(row, CardRow):
        yield ("name", row.type, row.name)
    if row.id is not None:
        yield ("id", row.id)


def _json_lines(text: str) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.encode()


def _csv_objects(text: str, where: str) -> Iterator[tuple[int, bytes]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    csv.field_size_limit(MAX_LINE_BYTES)
    try:
        for record in reader:
            if None in record:
                raise InventoryError(
                    f"{where} line {reader.line_num}: field (whole line): more columns than the header"
                )
            yield reader.line_num, json.dumps({k: _csv_value(k, v) for k, v in record.items() if v}).encode()
    except csv.Error as error:
        raise InventoryError(f"{where} line {reader.line_num}: field (whole line): {error}") from None


def _csv_value(column: str, value: str) -> Any:
    """A CSV cell as JSON: numbers and objects as such, tags as JSON or separated by semicolons."""
    if column in ("qualityScore", "version", "confidence", "attributes"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    if column == "tags":
        return json.loads(value) if value.startswith("[") else [tag.strip() for tag in value.split(";") if tag.strip()]
    return value


def _named_field(reason: str) -> str:
    """The field that a message such as 'Object missing required field `name`' names."""
    found = re.search(r"field `([^`]+)`", reason)
    return found.group(1) if found else ""
