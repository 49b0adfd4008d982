"""Text from a database or a file, wherever it comes out: terminal, figure, table, page; never taken for markup."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from rich.table import Table

from archzero_lab import terminal
from archzero_lab.errors import InventoryError
from archzero_lab.reporting import figures
from archzero_lab.reporting.frame import Frame
from archzero_lab.systems.arczero.cards import inventory
from archzero_lab.systems.arczero.cards.model import CardRow

EVIL = r"i[/bold]:smile: $\frac{1}{0$ <img src=x onerror=alert(1)> & [link=http://x]y"


def test_the_terminal_shows_it_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(terminal.console, "file", out)
    monkeypatch.setattr(terminal.console, "_width", 300)
    table = Table("what", title=EVIL)
    table.add_row(EVIL)
    terminal.console.print(table)
    terminal.console.print(f"said: {EVIL}", style="yellow")
    assert out.getvalue().count(EVIL) == 3


def test_a_figure_draws_it_as_it_is() -> None:
    figure, axes = plt.subplots()
    axes.barh([EVIL], [1.0], label=EVIL)
    axes.set_title(EVIL)
    axes.legend()
    drawn = figures.picture(figure, EVIL)
    html = drawn._repr_html_()
    assert "<img" not in html
    assert html.count("frac{1}{0$") >= 4


def test_a_table_of_a_notebook_shows_it_as_it_is() -> None:
    html = Frame({EVIL: [EVIL]}, index=[EVIL])._repr_html_()
    assert "<img" not in html
    assert html.count("&lt;img") == 3


def test_a_small_file_that_unpacks_to_very_much_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "MAX_BYTES", 2**20)
    bomb = tmp_path / "bomb.jsonl.gz"
    bomb.write_bytes(gzip.compress(b" " * (50 * 2**20)))
    with pytest.raises(InventoryError, match=r"bomb\.jsonl\.gz holds more than 1 MB"):
        inventory.read_inventory(bomb, CardRow)
    fine = tmp_path / "fine.jsonl.gz"
    fine.write_bytes(gzip.compress(b'{"name": "a", "type": "Risk"}'))
    assert [row.name for row in inventory.read_inventory(fine, CardRow)] == ["a"]
