"""A real JupyterLab in a real browser: the start page from the top, a parameter changed, a live experiment stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from archzero_lab.settings import ROOT

PICTURES = ROOT / "reports" / "jupyterlab"
"""What it looked like, kept after the test; git ignores it."""
NOTEBOOK = ROOT / "notebooks" / "00_start.ipynb"
WAIT_MS = 90_000


class Workspace:
    """What `./lab notebook` opened: its URL, and when it was called."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [str(ROOT / "lab"), "notebook", "--no-browser", "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = ""
        for line in self.process.stdout:
            if found := re.search(r"http://\S+/lab/tree/\S+token=\w+", line):
                self.url = found.group()
                break
        assert self.url, "JupyterLab told no URL"

    def close(self) -> None:
        """End JupyterLab and its kernels."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A state of this test's own; the databases are loaded before, as on a machine that is set up."""
    folder = tmp_path_factory.mktemp("jupyterlab")
    made = {
        **os.environ, "ARCHZERO_STATE": str(folder / "state"), "ARCHZERO_REPORTS": str(folder / "reports"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
    }  # fmt: skip
    # every cell in the page, not those alone that are in view; and our own notebook is never written to
    for plugin, setting in {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "docmanager-extension/plugin": {"autosave": False},
    }.items():
        file = folder / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(setting))
    for words in (("up", "--cards", "5000"), ("down",)):
        subprocess.run([str(ROOT / "lab"), *words], env=made, check=True, capture_output=True, timeout=240)
    before = NOTEBOOK.read_bytes()
    yield made
    subprocess.run([str(ROOT / "lab"), "down"], env=made, check=True, capture_output=True, timeout=120)
    assert NOTEBOOK.read_bytes() == before, "the test saved the start page"


@pytest.fixture(scope="module")
def workspace(environment: dict[str, str], browser: Browser) -> Iterator[Workspace]:
    """`./lab notebook`, called when the browser is there already."""
    opened = Workspace(environment)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(workspace: Workspace, browser: Browser) -> Page:
    """The start page as it opens. Our notebooks are not changed: nothing is saved."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened.goto(workspace.url)
    opened.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=WAIT_MS)
    _wait_until_idle(opened)  # asked earlier, JupyterLab asks which kernel
    return opened


def _picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(PICTURES / f"{name}.png"))


@pytest.fixture(autouse=True)
def _last_picture(page: Page) -> Iterator[None]:
    """What the page looked like when a test ended, however it did."""
    yield
    _picture(page, "last")


def _code_cell(page: Page, text: str) -> Locator:
    return page.locator(".jp-CodeCell").filter(has_text=text)


def _wait_until_idle(page: Page) -> None:
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=WAIT_MS)


def _run_all(page: Page) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def _write(page: Page, cell: Locator, text: str) -> None:
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def _errors(page: Page) -> list[str]:
    kinds = ", ".join(f'[data-mime-type="application/vnd.jupyter.{kind}"]' for kind in ("stderr", "error"))
    return page.locator(kinds).all_inner_texts()


def test_the_start_page_runs_from_the_top_to_a_verdict(page: Page, workspace: Workspace) -> None:
    """An experiment of one's own: another word is searched for than the page comes with."""
    _write(page, _code_cell(page, "word ="), 'cards = 5_000\nword = "gateway"\nblocks = 12')
    _run_all(page)
    verdict = _code_cell(page, "lab.experiment(").locator(".jp-OutputArea-output").filter(has_text="over 12 blocks")
    verdict.locator("strong").first.wait_for(timeout=WAIT_MS)
    took_s = time.monotonic() - workspace.began
    assert verdict.locator("strong").first.inner_text() in ("improved", "equivalent", "regressed", "inconclusive")
    expect(verdict.locator("svg")).to_have_count(1)
    _code_cell(page, "lab.runs(").locator(".jp-OutputArea-output").first.wait_for(timeout=WAIT_MS)
    # the stack, the plans with their trees, the panel, the claims
    expect(_code_cell(page, "lab.stack(").get_by_text("The stack is up.")).to_have_count(1)
    expect(_code_cell(page, "lab.plan_diff(").locator("svg").first).to_be_attached()
    panel = _code_cell(page, "lab.experiment(").locator(".jupyter-widgets")
    expect(panel.get_by_text("done")).to_have_count(1)
    expect(_code_cell(page, "lab.claims(").get_by_text("Card detail, cached")).to_have_count(1)
    assert _errors(page) == []
    verdict.scroll_into_view_if_needed()
    _picture(page, "verdict")
    (PICTURES / "first_verdict.json").write_text(json.dumps({"seconds": round(took_s, 1)}) + "\n")


def test_another_number_of_blocks_measures_anew_and_loads_nothing(page: Page) -> None:
    _write(page, _code_cell(page, "word ="), 'cards = 5_000\nword = "gateway"\nblocks = 7')
    _run_all(page)
    again = _code_cell(page, "lab.experiment(").locator(".jp-OutputArea-output").filter(has_text="over 7 blocks")
    again.locator("strong").first.wait_for(timeout=WAIT_MS)
    expect(_code_cell(page, "lab.stack(").get_by_text("reused: all of it")).to_have_count(1)
    assert _errors(page) == []


def test_the_stop_button_of_a_live_experiment_keeps_what_was_measured(page: Page) -> None:
    _write(page, _code_cell(page, "word ="), 'cards = 5_000\nword = "gateway"\nblocks = 500')
    _run_all(page)
    cell = _code_cell(page, "lab.experiment(")
    button = cell.get_by_role("button", name="Stop after this block")
    cell.get_by_text("transactions/s").wait_for(timeout=WAIT_MS)  # the counters beat
    cell.locator("polygon").wait_for(state="attached", timeout=WAIT_MS)  # blocks have arrived, their interval narrows
    cell.locator(".jupyter-widgets").first.scroll_into_view_if_needed()
    _picture(page, "live")
    button.click()
    stopped = cell.locator(".jp-OutputArea-output").filter(has_text="of 500 blocks")
    stopped.locator("strong").first.wait_for(timeout=WAIT_MS)
    assert re.search(r"stopped after \d+ of 500 blocks", stopped.inner_text())
    assert button.is_disabled()
    assert _errors(page) == []


def test_an_error_is_one_line_and_the_kernel_lives(page: Page) -> None:
    _write(page, _code_cell(page, "lab.claims("), 'lab.sql("SELEC 1")')
    page.keyboard.press("Control+Enter")
    cell = _code_cell(page, 'lab.sql("SELEC 1")')
    cell.get_by_text("DatabaseError: PostgreSQL: syntax error").wait_for(timeout=WAIT_MS)
    assert "Traceback" not in cell.inner_text()
    _write(page, cell, "lab.sql('SELECT 42 AS answer')")
    answer = _code_cell(page, "42 AS answer").get_by_role("cell", name="42")
    _wait_until_idle(page)  # a kernel drops what it is asked in the moment after an error
    page.keyboard.press("Control+Enter")
    answer.wait_for(timeout=WAIT_MS)


def test_an_interrupt_of_the_kernel_ends_after_the_block_and_keeps_what_was_measured(page: Page) -> None:
    cell = _code_cell(page, "42 AS answer")
    _write(
        page,
        cell,
        "trial = lab.experiment(query, query, blocks=500)\n"
        "print('measuring')\n"
        "print(trial.wait().warnings)  # 42 AS answer",
    )
    page.keyboard.press("Control+Enter")
    cell.locator(".jp-OutputArea-output").get_by_text("measuring", exact=True).wait_for(timeout=WAIT_MS)
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Interrupt Kernel", exact=True).click()
    cell.get_by_text(re.compile(r"stopped after \d+ of 500 blocks")).wait_for(timeout=WAIT_MS)
    assert _errors(page) == []


def test_a_report_in_a_panel_is_measured_by_a_process_that_ends_with_the_kernel(page: Page) -> None:
    cell = _code_cell(page, "lab.runs(")
    _write(page, cell, 'lab.report(only=["card_detail_cached"], cards=1000)  # lab.runs(')
    page.keyboard.press("Control+Enter")
    cell.get_by_text("so far").or_(cell.get_by_text("a ratio below 1")).first.wait_for(timeout=WAIT_MS)
    mine = _reports()
    assert len(mine) == 1
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel…", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    _, alive = psutil.wait_procs(mine, timeout=60)
    assert alive == [], "the report outlived its kernel"
    _write(page, cell, "import archzero_lab as lab; lab.stack()  # lab.runs(")
    page.keyboard.press("Control+Enter")
    cell.get_by_text("reused: all of it").wait_for(timeout=WAIT_MS)


def _reports() -> list[psutil.Process]:
    def is_one(process: psutil.Process) -> Any:
        return "--progress" in process.info["cmdline"] and "archzero_lab" in process.info["cmdline"]

    return [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] and is_one(process)]
