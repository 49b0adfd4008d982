"""A DataFrame that reads well in a notebook: texts whole and left, numbers right and to three digits."""

from __future__ import annotations

from typing import Any

import pandas as pd

from archzero_lab.reporting.tables import whole_html

_MOST_ROWS, _MOST_LETTERS = 60, 1_000
"""What is shown of a long frame, and of one cell's text; the frame itself holds all."""


class Frame(pd.DataFrame):
    """A DataFrame in every way but how a notebook shows it; what is cut from it is one too.

    Times, sizes and rates name their unit at the end of their column's name: p50_ms, WAL bytes, answered_per_s.
    """

    @property
    def _constructor(self) -> type[Frame]:
        return Frame

    @property
    def frame(self) -> Frame:
        """Itself; what an index experiment's tables were asked for before they were DataFrames."""
        return self

    def _repr_html_(self) -> str:
        shown = whole_html(pd.DataFrame(self.head(_MOST_ROWS)).map(_bounded))
        rest = len(self) - _MOST_ROWS
        return shown + (f"<p>the first {_MOST_ROWS} of {len(self):,} rows</p>" if rest > 0 else "")


def _bounded(value: Any) -> Any:
    """A cell's text; of one that would fill the screen its beginning and its length."""
    if not isinstance(value, str | bytes | list | dict | tuple):
        return value
    text = value if isinstance(value, str) else str(value)
    return value if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} … {len(text):,} characters in all"
