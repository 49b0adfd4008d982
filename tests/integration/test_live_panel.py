"""The panel in a real kernel: it is shown at once, the kernel stays free, stopping keeps what was measured."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from archzero_lab.settings import ROOT

CELLS = [
    "import sys; sys.path.insert(0, {root!r})\nimport archzero_lab as lab, time, threading",
    "began = time.perf_counter()\n"
    "found = lab.experiment(lambda: sum(range(3000)), lambda: sum(range(9000)), blocks=400, calls=50)\n"
    "found",
    # the cell before has ended while its experiment goes on
    "print(found.running, time.perf_counter() - began < 30)",
    "while found.progress == 0:\n    time.sleep(0.01)\nfound.stop()\nresult = found.wait()\n"
    "print(len(result.blocks) // 2 < 400, result.verdict.value, found.running)\nprint(result.warnings)",
    # the panel follows on the kernel's loop: between cells it gets its turn
    "import asyncio, ipywidgets\n"
    "async def until(wanted):\n"
    "    while not any(wanted in w.value for w in list(ipywidgets.Widget.widgets.values())"
    " if isinstance(w, ipywidgets.HTML)):\n"
    "        await asyncio.sleep(0.05)\n"
    "await until('<svg')\n"
    "texts = [w.value for w in ipywidgets.Widget.widgets.values() if isinstance(w, ipywidgets.HTML)]\n"
    "buttons = [w.disabled for w in ipywidgets.Widget.widgets.values() if isinstance(w, ipywidgets.Button)]\n"
    "print(any('stopped' in text for text in texts), any('<svg' in text for text in texts), buttons)",
    "print([thread.name for thread in threading.enumerate() if 'experiment' in thread.name])",
    "lab.experiment(lambda: 1, lambda: 1 / 0, blocks=6)",
    "await until('ZeroDivisionError')\nprint([w.value for w in ipywidgets.Widget.widgets.values()"
    " if isinstance(w, ipywidgets.HTML) and 'ZeroDivisionError' in w.value])",
]


@pytest.fixture(scope="module")
def ran() -> list[Any]:
    """The cells as a kernel with a front end ran them."""
    notebook = new_notebook(cells=[new_code_cell(cell.format(root=str(ROOT)) if "{root" in cell else cell)
                                   for cell in CELLS])  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ARCHZERO_NOTEBOOK_JOB", raising=False)
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return list(notebook.cells)


def _text(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs if output.get("name") == "stdout")


def test_the_panel_is_shown_and_the_kernel_is_free_while_it_measures(ran: list[Any]) -> None:
    shown = [output.data for output in ran[1].outputs if output.output_type == "display_data"]
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)
    assert _text(ran[2]).strip() == "True True"


def test_stopping_keeps_the_blocks_and_the_panel_says_so(ran: list[Any]) -> None:
    first, warnings = _text(ran[3]).strip().splitlines()
    assert first.split()[0] == "True"
    assert first.split()[2] == "False"
    assert "of 400 blocks" in warnings
    assert _text(ran[4]).strip() == "True True [True]"


def test_no_thread_is_left_and_an_arm_that_raises_is_told_in_the_panel(ran: list[Any]) -> None:
    assert _text(ran[5]).strip() == "[]"
    assert "treatment raised ZeroDivisionError in block 1 of 6: division by zero" in _text(ran[7])
    assert not any(output.output_type == "error" for cell in ran for output in cell.outputs)
