"""A DataFrame that reads well in a notebook: texts whole and left, numbers right and to three digits."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from archzero_lab.reporting.tables import ALIGNED, FRAMED, whole_html

_RIGHT = ' class="number"'
_MOST_ROWS, _MOST_LETTERS = 60, 1_000
"""What is shown of a long frame, and of one cell's text; the frame itself holds all."""


class Frame(pd.DataFrame):
    """A DataFrame in every way but how a notebook shows it; what is cut from it is one too.

    Times, sizes and rates name their unit at the end of their column's name: p50_ms, WAL bytes, answered_per_s.
    """

    @property
    def _constructor(self) -> type[Frame]:
        return Frame

    def _repr_html_(self) -> str:
        return _with_length(whole_html(pd.DataFrame(self.head(_MOST_ROWS)).map(_bounded)), len(self))

    def __repr__(self) -> str:
        return self.to_string() if len(self) <= _MOST_ROWS else super().__repr__()


class IndexTable(Frame):
    """A table of an index experiment."""

    @property
    def frame(self) -> IndexTable:
        """Itself; what these tables were asked for before they were DataFrames."""
        return self


class Rows(Frame):
    """Rows of a database, each value as it is: what looks like a number or a verdict may be somebody's text."""

    @property
    def _constructor(self) -> type[Rows]:
        return Rows

    def _repr_html_(self) -> str:
        shown = self.head(_MOST_ROWS)
        numeric = [pd.api.types.is_numeric_dtype(kind) for kind in self.dtypes]
        heads = "".join(
            f"<th{_RIGHT if right else ''}>{html.escape(str(name))}</th>"
            for name, right in zip(self.columns, numeric, strict=True)
        )
        rows = "".join(
            f"<tr><th>{html.escape(str(place))}</th>"
            + "".join(
                f"<td{_RIGHT if right else ''}>{'' if value is None else html.escape(str(_bounded(value)))}</td>"
                for value, right in zip(values, numeric, strict=True)
            )
            + "</tr>"
            for place, values in zip(shown.index, shown.itertuples(index=False, name=None), strict=True)
        )
        table = f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        return _with_length(f"{ALIGNED}{FRAMED}{table}</div>", len(self))

    def __repr__(self) -> str:
        return pd.DataFrame.__repr__(self)


def _with_length(shown: str, rows: int) -> str:
    return shown + (f"<p>the first {_MOST_ROWS} of {rows:,} rows</p>" if rows > _MOST_ROWS else "")


def _bounded(value: Any) -> Any:
    """A cell's text; of one that would fill the screen its beginning and its length."""
    if not isinstance(value, str | bytes | list | dict | tuple):
        return value
    text = value if isinstance(value, str) else str(value)
    return value if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} … {len(text):,} characters in all"
