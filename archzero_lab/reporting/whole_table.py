"""A table of the terminal in which nothing is cut: where its rows are wider than the screen they are stacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_FRAME = 3
"""Columns of the screen that a cell's frame takes; one more at the end."""


class WholeTable:
    """Columns by name; the first one and those of `lead` make a stacked row's first line."""

    def __init__(self, *columns: str, title: str = "", lead: Sequence[str] = ()) -> None:
        self._columns = columns
        self._title = title
        self._lead = [0, *(columns.index(name) for name in lead)]
        self._rows: list[tuple[list[Text], str]] = []

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """A row, a cell a column."""
        self._rows.append(([cell if isinstance(cell, Text) else Text(cell) for cell in cells], style))

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        widths = [
            max([cell_len(name), *(cell_len(row[at].plain) for row, _ in self._rows)])
            for at, name in enumerate(self._columns)
        ]
        if sum(widths) + _FRAME * len(widths) + 1 <= options.max_width:
            table = Table(*self._columns, title=self._title or None, title_justify="left")
            for row, style in self._rows:
                table.add_row(*row, style=style)
            yield table
            return
        if self._title:
            yield Text(self._title, "bold")
        for row, style in self._rows:
            first = Text("  ").join(row[at] for at in self._lead if row[at].plain)
            first.stylize(style or "bold")
            rest = [
                Text(f"{self._columns[at]} ").append_text(cell) if self._columns[at] else cell
                for at, cell in enumerate(row) if at not in self._lead and cell.plain
            ]  # fmt: skip
            if first.plain:
                yield first
            if rest:
                yield Padding(Text("; ").join(rest), (0, 0, 0, 4))
