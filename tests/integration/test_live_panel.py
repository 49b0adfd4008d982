"""The panel in a real kernel: it is shown at once, the kernel stays free, stopping keeps what was measured."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from archzero_lab.settings import ROOT

pytestmark = pytest.mark.once

CELLS = [
    "import sys; sys.path.insert(0, {root!r})\nimport archzero_lab as lab, time, threading\n"
    # what is displayed and updated from now on: nbclient itself drops updates that come after their cell has ended
    "shown = []\nget_ipython().display_pub.register_hook(lambda m: shown.append(m['content']) or m)\n"
    "def html_with(text):\n    return [h for c in shown if text in (h := c['data'].get('text/html', ''))]",
    "began = time.perf_counter()\n"
    # of 400 blocks that take minutes: it ends when it is told to
    "found = lab.experiment(lambda: time.sleep(0.005), lambda: time.sleep(0.01), blocks=400, calls=20)\n"
    "found",
    # the cell before has ended while its experiment goes on
    "print(found.running, time.perf_counter() - began < 30)",
    "import asyncio\nwhile not html_with('so far '):\n    await asyncio.sleep(0.05)\n"
    "found.stop()\nresult = found.wait()\n"
    "print(len(result.blocks) // 2 < 400, result.verdict.value, found.running)\nprint(result.warnings)",
    # the panel follows on the kernel's loop: between cells it gets its turn
    "import ipywidgets\n"
    "async def until(wanted):\n"
    "    while not any(wanted in w.value for w in list(ipywidgets.Widget.widgets.values())"
    " if isinstance(w, ipywidgets.HTML)):\n"
    "        await asyncio.sleep(0.05)\n"
    "await until('stopped')\n"
    "while not html_with('of 400 blocks'):\n    await asyncio.sleep(0.05)\n"
    "print([w.disabled for w in ipywidgets.Widget.widgets.values() if isinstance(w, ipywidgets.Button)])\n"
    "print(['<svg' in text for text in html_with('of 400 blocks')], len(html_with('so far ')) > 0)",
    "print([thread.name for thread in threading.enumerate() if 'experiment' in thread.name])",
    "lab.experiment(lambda: 1, lambda: 1 / 0, blocks=6)",
    "while not html_with('ZeroDivisionError'):\n    await asyncio.sleep(0.05)\nprint(html_with('ZeroDivisionError'))",
    "from archzero_lab.jupyter.panel import show\n"
    "class Blind:\n    running, progress, seconds_left = True, 0.5, None\n"
    "    def so_far_html(self):\n        raise ValueError('no eyes')\n"
    "    def _repr_html_(self):\n        return '<p>its outcome</p>'\n"
    "class Mute(Blind):\n    running = False\n"
    "    def _repr_html_(self):\n        raise ValueError('no outcome')\n"
    "blind = Blind()\nshow(blind)",
    "while not html_with('could not look: ValueError: no eyes'):\n    await asyncio.sleep(0.05)\n"
    "blind.running = False\n"
    "while not html_with('its outcome'):\n    await asyncio.sleep(0.05)\nshow(Mute())\n"
    "while not html_with('ValueError: no outcome'):\n    await asyncio.sleep(0.05)\nprint('followed to its end')",
    "lab.experiment('SELECT 1', 'SELEC 1', metric='p51')",
    "print('alive')",
]


@pytest.fixture(scope="module")
def ran() -> list[Any]:
    """The cells as a kernel with a front end ran them."""
    notebook = new_notebook(cells=[new_code_cell(cell.format(root=str(ROOT)) if "{root" in cell else cell)
                                   for cell in CELLS])  # fmt: skip
    _FrontEnd(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
    return list(notebook.cells)


class _FrontEnd(NotebookClient):
    """As somebody's JupyterLab: a kernel may ask it for input."""

    async def async_start_new_kernel_client(self) -> Any:
        client = await super().async_start_new_kernel_client()
        client.allow_stdin = True
        return client


def test_where_nobody_watches_an_experiment_waits_and_its_verdict_is_in_the_cell() -> None:
    """nbclient as it is: what nbconvert --execute and papermill run notebooks by."""
    cell = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nimport archzero_lab as lab, time\n"
        "lab.experiment(lambda: time.sleep(0.001), lambda: time.sleep(0.003), blocks=6, calls=5)"
    )
    notebook = new_notebook(cells=[new_code_cell(cell)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (shown,) = [output.data["text/html"] for output in notebook.cells[0].outputs if "data" in output]
    assert "treatment / control" in shown
    assert "<svg" in shown
    assert "starting" not in shown


def _text(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs if output.get("name") == "stdout")


def test_the_panel_is_shown_and_the_kernel_is_free_while_it_measures(ran: list[Any]) -> None:
    shown = [output.data for output in ran[1].outputs if output.output_type == "display_data"]
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)
    assert _text(ran[2]).strip() == "True True"


def test_stopping_keeps_the_blocks_and_the_result_is_ordinary_output_that_stays_when_saved(ran: list[Any]) -> None:
    first, warnings = _text(ran[3]).strip().splitlines()
    assert first.split()[0] == "True"
    assert first.split()[2] == "False"
    assert "of 400 blocks" in warnings
    assert _text(ran[4]).split("\n")[:2] == ["[True]", "[True] True"]


def test_no_thread_is_left_and_an_arm_that_raises_is_told_below_the_panel(ran: list[Any]) -> None:
    assert _text(ran[5]).strip() == "[]"
    assert "treatment raised ZeroDivisionError in block 1 of 6: division by zero" in _text(ran[7])


def test_a_look_or_an_outcome_that_fails_is_told_and_the_panel_follows_to_the_end(ran: list[Any]) -> None:
    assert _text(ran[9]).strip() == "followed to its end"


def test_an_error_of_ours_is_one_line_without_any_magic_and_the_kernel_lives(ran: list[Any]) -> None:
    (error,) = [output for output in ran[10].outputs if output.output_type == "error"]
    assert error.ename == "UnknownNameError"
    assert len(error.traceback) == 1
    assert error.traceback[0].startswith("UnknownNameError: unknown metric 'p51'")
    assert _text(ran[11]).strip() == "alive"
    assert not any(output.output_type == "error" for cell in ran[:10] for output in cell.outputs)
