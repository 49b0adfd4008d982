"""Tables of the terminal: as a table where it fits, stacked where it does not, and nothing ever cut."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from archzero_lab.reporting.whole_table import WholeTable

_WORD = st.text(alphabet="abcdefghij_0123456789", min_size=1, max_size=60)


def _printed(table: WholeTable, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, emoji=False).print(table)
    return out.getvalue()


def _table(name: str = "idx_cards_active_created", why: str = "nothing uses it") -> WholeTable:
    table = WholeTable("index", "size", "verdict", "why", title="Indexes", lead=["verdict"])
    table.add_row(name, "1.2 MB", Text("drop", "red"), why)
    return table


def test_a_row_that_fits_is_a_row() -> None:
    assert "│ idx_cards_active_created │ 1.2 MB │ drop    │ nothing uses it │" in _printed(_table(), 80)


def test_a_row_that_does_not_fit_is_stacked_with_its_verdict_first() -> None:
    lines = [line.rstrip() for line in _printed(_table(), 50).splitlines()]
    assert lines == ["Indexes", "idx_cards_active_created  drop", "    size 1.2 MB; why nothing uses it"]


@given(st.lists(st.tuples(_WORD, _WORD, _WORD), min_size=1, max_size=4), st.integers(20, 200))
def test_every_letter_of_every_cell_is_printed_at_any_width(rows: list[tuple[str, str, str]], width: int) -> None:
    table = WholeTable("one", "two", "three", lead=["three"])
    for row in rows:
        table.add_row(*row)
    # a word that is longer than the screen goes on in the next line
    printed = "".join(_printed(table, width).split())
    for row in rows:
        for cell in row:
            assert cell in printed


def test_a_cell_that_is_empty_has_no_name_in_a_stacked_row() -> None:
    assert "why" not in _printed(_table("a_name_that_is_much_too_long_for_this_screen", ""), 40)
