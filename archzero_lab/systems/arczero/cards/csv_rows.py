"""CSV as people have it: any separator, a byte-order mark, headers in any case; nothing of it is lost in silence.

A field whose quote is not closed would swallow the rows after it, a column that is there twice one of its values: both
are refused with the line where they begin.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from archzero_lab.errors import InventoryError
from archzero_lab.systems.arczero.cards.field_errors import VALUES
from archzero_lab.systems.arczero.cards.model import MAX_CARD_BYTES

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_SEPARATORS = ",;\t"
_MOST_LINES = 200
"""A cell may hold line breaks; one that goes on for more lines than this has a quote that was not closed."""
_MOST_CELLS = 1_000
_AS_JSON = ("qualityScore", "version", "confidence", "attributes")


def csv_objects(text: str, fields: Collection[str], where: str) -> Iterator[tuple[int, bytes]]:
    """Each row as (line where it begins, JSON object of the cells that are filled); nothing for one without any.

    Lines are read as they are wanted. `fields` are the columns there may be. Raises InventoryError with the line that
    is wrong.
    """
    separator, skipped, body = _separator(text)
    begun = skipped + 1

    def lines() -> Iterator[str]:
        """The lines, for as long as what the reader makes of them is no longer than a row may be."""
        row, size = begun, 0
        for number, match in enumerate(_LINE.finditer(body), skipped + 1):
            if row != begun:
                row, size = begun, 0
            size += len(match[0])
            if number - begun > _MOST_LINES:
                raise InventoryError(
                    f"{where} line {begun}: a cell goes on for more than {_MOST_LINES} lines: is its quote closed"
                    " where it should be? What is so long can be sent as JSON Lines"
                )
            if size > MAX_CARD_BYTES:
                raise InventoryError(
                    f"{where} line {begun}: field (whole line): a row has {MAX_CARD_BYTES:,} characters at most"
                )
            yield match[0]

    reader = csv.reader(lines(), delimiter=separator, strict=True)
    columns: list[str] = []
    try:
        for cells in reader:
            if len(cells) > _MOST_CELLS:
                raise InventoryError(
                    f"{where} line {begun}: field (whole line): {len(cells):,} columns; a row has {_MOST_CELLS:,} at"
                    " most"
                )
            if not any(cell.strip() for cell in cells):
                yield begun, b""
            elif not columns:
                columns = _columns(cells, fields, f"{where} line {begun}")
            else:
                if len(cells) > len(columns):
                    raise InventoryError(f"{where} line {begun}: field (whole line): more columns than the header")
                _refuse_swallowed(cells, columns, separator, f"{where} line {begun}")
                row = {name: _value(name, cell, f"{where} line {begun}")
                       for name, cell in zip(columns, cells, strict=False) if cell.strip()}  # fmt: skip
                yield begun, json.dumps(row).encode()
            begun = reader.line_num + skipped + 1
    except csv.Error as error:
        said = str(error)
        if "unexpected end" in said:
            said = "a quote is opened and not closed; write a quote inside a cell twice"
        elif "expected after" in said:
            said = "a quote is closed and the cell goes on; write a quote inside a cell twice"
        raise InventoryError(f"{where} line {begun}: field (whole line): {said}") from None


def _refuse_swallowed(cells: list[str], columns: list[str], separator: str, where: str) -> None:
    """Raise InventoryError where a line within a cell is a row by itself: as many cells, its kinds such as there are.

    A quote that was not closed is closed by the next one, an inch perhaps, and the rows between stand in one cell.
    """
    for cell in cells:
        for line in cell.split("\n")[1:]:
            inside = next(csv.reader([line], delimiter=separator), [])
            kinds = [(VALUES[name], part.strip()) for name, part in zip(columns, inside, strict=False)
                     if name in VALUES and part.strip()]  # fmt: skip
            if len(inside) == len(columns) and kinds and all(part in list(values) for values, part in kinds):
                raise InventoryError(
                    f"{where}: field (whole line): a cell holds a line that is a row by itself ({line.strip()[:40]!r}):"
                    " a quote is not closed where it should be; write a quote inside a cell twice"
                )


def _separator(text: str) -> tuple[str, int, str]:
    """What stands between cells (Excel's first line sep=; says it, or the header), lines that took, and the rest."""
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        return first.strip()[4], 1, rest
    return max(_SEPARATORS, key=first.count), 0, text


def _columns(header: list[str], fields: Collection[str], where: str) -> list[str]:
    """The contract's names of a header's words, whatever their case and the blanks around them."""
    known = {name.lower(): name for name in fields}
    named: list[str] = []
    for word in header:
        bare = word.strip()
        name = known.get(bare.lower().replace(" ", "").replace("_", ""))
        if name is None and bare:
            raise InventoryError(f"{where}: unknown column '{bare}'; known: {', '.join(fields)}")
        if name in named:
            raise InventoryError(f"{where}: column {name} is there twice; keep one of them")
        named.append(name or "")
    return named


def _value(column: str, cell: str, where: str) -> Any:
    """A cell as JSON: numbers and objects as such, tags as JSON or separated by semicolons."""
    if column in _AS_JSON:
        try:
            value = json.loads(cell)
        except ValueError:
            return cell  # the contract says what it should have been
        return int(value) if isinstance(value, float) and value.is_integer() and column != "confidence" else value
    if column != "tags":
        return cell
    if not cell.strip().startswith("["):
        return [tag.strip() for tag in cell.split(";") if tag.strip()]
    try:
        return json.loads(cell)
    except ValueError:
        raise InventoryError(
            f"{where}: field tags: neither JSON nor names separated by semicolons: {cell.strip()[:40]!r}"
        ) from None
