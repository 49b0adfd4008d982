"""A notebook that stops half way by any road fails and is named; one that ends becomes a page of its own."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from archzero_lab.errors import NotebookError, UnknownNameError
from archzero_lab.reporting.notebooks import parameters_of, run_notebook

pytestmark = pytest.mark.once


def _notebook(folder: Path, *cells: str) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.cells = [
        nbformat.v4.new_markdown_cell("# A question"),
        nbformat.v4.new_code_cell('run = "latest"  # a == b\nlimit = 3', metadata={"tags": ["parameters"]}),
        *(nbformat.v4.new_code_cell(cell) for cell in cells),
    ]
    (folder / "in").mkdir()
    path = folder / "in" / "asked.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit(0)", "did not reach its end|SystemExit"),
        ("%nosuchmagic 1", "`%nosuchmagic` not found"),
        ("!exit 3", "CalledProcessError.*status 3"),
        ("x = !exit 4", "CalledProcessError.*status 4"),
        ("import os; os._exit(0)", "kernel died"),
        ("import time\nwhile True: time.sleep(1)", "ran longer than 6 s"),
    ],
)
def test_a_notebook_that_stops_half_way_is_an_error_with_its_name(tmp_path: Path, cell: str, told: str) -> None:
    path = _notebook(tmp_path, cell, "print('after')")
    with pytest.raises(NotebookError, match=rf"(?s)notebook asked .*({told})"):
        run_notebook(path, tmp_path, {}, timeout_s=6 if "while" in cell else 60)


def test_an_unknown_parameter_is_named_with_the_known_ones(tmp_path: Path) -> None:
    path = _notebook(tmp_path, "print(1)")
    assert parameters_of(path) == {"run": "latest", "limit": 3}
    with pytest.raises(UnknownNameError, match=r"parameter of notebook asked 'speed'; known: limit, run"):
        run_notebook(path, tmp_path, {"speed": 1})


def test_of_the_parameters_what_is_a_literal_is_read_and_the_rest_is_left_to_the_kernel(tmp_path: Path) -> None:
    path = _notebook(tmp_path, "print('cards', cards, size)")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = "%matplotlib inline\ncards = 5 * 60\nname: str = 'x'\nsize = 7\nsize += 1\n!true"
    nbformat.write(notebook, path)
    assert parameters_of(path) == {"name": "x", "size": 7}
    assert "cards 300 3" in run_notebook(path, tmp_path, {"size": 3}).html.read_text()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', "PK\x03\x04"])
def test_a_file_that_is_no_notebook_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.ipynb"
    path.write_text(text)
    with pytest.raises(NotebookError, match=r"broken\.ipynb is no notebook"):
        parameters_of(path)


def test_a_notebook_that_ends_becomes_a_page_without_any_outside_address(tmp_path: Path) -> None:
    path = _notebook(tmp_path, "!echo shell works", "print('limit is', limit)")
    page = run_notebook(path, tmp_path, {"limit": 9})
    assert page.title == "A question"
    text = page.html.read_text()
    assert "limit is 9" in text
    assert "shell works" in text
    assert "_strict" not in text, "our own cells are taken out again"
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//[^"')\s>]+""", text)
    assert nbformat.read(tmp_path / "asked.ipynb", as_version=4).cells[0].source == "# A question"
