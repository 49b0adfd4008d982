"""A whole report, the run judged and drawn again, and notebooks and claims of one's own, as a person calls them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser

from archzero_lab.reporting import figures
from archzero_lab.reporting.pages import plain_page
from archzero_lab.settings import ROOT
from tests.end_to_end.command import lab, recorded
from tests.end_to_end.other_pages import other_pages
from tests.end_to_end.page_probe import PICTURES, faults_of, picture_of_terminal
from tests.unit.test_claims_of_ones_own import OWN


def test_a_report_measures_writes_its_files_and_refuses_a_second_one_meanwhile(
    environment: dict[str, str], tmp_path: Path
) -> None:
    reports = Path(environment["ARCHZERO_REPORTS"])
    own = tmp_path / "claims.own.toml"
    claimed = OWN.replace('treatment = "treatment"', 'treatment = "cache"').replace('metric = "p95"', 'metric = "mean"')
    own.write_text(claimed)
    process = subprocess.Popen(
        [str(ROOT / "lab"), "report", "--profile", "smoke", "--cards", "1000", "--only", "card_detail_cached",
         "--only", "index_overhead", "--only", "open_risks"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**environment, "ARCHZERO_CLAIMS": str(own), "COLUMNS": "200",
             # a machine that stops for a moment is no outage of Redis
             "ARCHZERO_CACHE_TIMEOUT_S": "5", "ARCHZERO_CACHE_LICENCE_S": "60"},
    )  # fmt: skip
    while not list(reports.glob("*-smoke-*")):
        assert process.poll() is None
        time.sleep(0.02)
    second = lab(environment, "report", "--profile", "smoke")
    assert second.returncode == 2
    assert "is running in this checkout" in second.stderr
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert re.search(r"│ Card detail, cached +│.*│ \S (?:confirmed|refuted|inconclusive) +│", out), "a row is a line"
    latest = reports / "latest"
    summary = json.loads((latest / "summary.json").read_text())
    assert [claim["id"] for claim in summary["claims"]] == ["card_detail_cached", "index_overhead", "open_risks"]
    assert [stage["name"] for stage in summary["stages"]] == [
        "servers", "load", "arms", "measure", "checks", "locust", "plans", "notebooks", "report",
    ]  # fmt: skip
    detail, overhead, risks = summary["claims"]
    assert risks["arms"] == {"control": "control", "treatment": "cache"}
    assert risks["mechanism"]["moved"]
    assert risks["measured"]["blocks"] == 12
    assert detail["measured"]["blocks"] == 12
    assert detail["measured"]["ci_low"] <= detail["measured"]["improvement"] <= detail["measured"]["ci_high"]
    asked, hits = (detail["mechanism"]["treatment"][name] for name in ("requests", "cache_hits"))
    assert 0.99 * asked <= hits <= asked  # where the machine stalls, a read does not wait for Redis
    assert overhead["measured"]["after"] > 0
    for name in ("index.html", "samples.parquet", "slots.parquet", "plans.json", "01_cached_reads.html",
                 "02_index_plans.html", "03_hit_rate_and_memory.html", "04_scorecard.html"):  # fmt: skip
        assert (latest / name).stat().st_size > 0
    for page in latest.glob("*.html"):
        outside = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//[^"')\s>]+""", page.read_text())
        assert outside == [], page.name
    assert recorded(environment) == []


def test_every_page_can_be_read_at_four_sizes_by_day_and_by_night(
    environment: dict[str, str], browser: Browser, tmp_path: Path
) -> None:
    """Nothing scrolls sideways, no text is below 9 px or pale, no figure empty, no link dead, no markup leaked."""
    reports = Path(environment["ARCHZERO_REPORTS"])
    assert lab(environment, "history").returncode == 0
    assert lab(environment, "compare", "latest", "latest").returncode == 0
    PICTURES.mkdir(parents=True, exist_ok=True)
    page = browser.new_page()
    of_run = sorted((reports / "latest").resolve().glob("*.html"))
    pages = [*of_run, reports / "history.html", *other_pages(tmp_path, reports)]
    assert len(pages) == 11
    wrong = [fault for path in pages for fault in faults_of(page, path, picture=PICTURES)]
    assert wrong == []
    sizes = {path.name: path.stat().st_size for path in pages}
    assert max(sizes.values()) < 3_000_000, sizes
    narrow = {**environment, "COLUMNS": "80"}
    # what a report prints is what judging it again does
    for name, arguments in (("help", ["--help"]), ("history", ["history"]), ("report", ["judge", "latest"])):
        printed = subprocess.run(
            [str(ROOT / "lab"), *arguments], env=narrow, capture_output=True, text=True, timeout=60
        ).stdout
        assert max(map(len, printed.splitlines())) <= 80
        picture_of_terminal(page, printed, PICTURES / f"terminal-{name}.png")


def test_a_part_of_a_figure_that_is_dragged_over_is_enlarged_and_its_place_told(
    browser: Browser, tmp_path: Path
) -> None:
    blocks = pd.DataFrame({"control": [80.0, 90.0, 85.0], "treatment": [8.0, 9.0, 7.5]})
    file = tmp_path / "figure.html"
    file.write_text(plain_page("A figure", figures.paired_blocks(blocks, "List", "p50, ms", 50)._repr_html_()))
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.goto(file.as_uri())
    drawn = page.locator("figure svg")
    whole = drawn.get_attribute("viewBox")
    place = drawn.bounding_box()
    assert whole is not None
    assert place is not None
    back = page.get_by_role("button", name="whole figure: List")
    assert not back.is_visible()
    page.mouse.move(place["x"] + place["width"] * 0.5, place["y"] + place["height"] * 0.4)
    here = page.locator("figcaption output").inner_text()
    assert re.fullmatch(r"block: [\d.]+; p50, ms: [\d.]+", here)
    assert 0.7 < float(here.partition(";")[0].removeprefix("block: ")) < 1.3
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 0.75, place["y"] + place["height"] * 0.6)
    page.mouse.up()
    page.mouse.move(0, 0)
    assert re.fullmatch(
        r"block: [\d.]+ to [\d.]+; p50, ms: [\d.]+ to [\d.]+", page.locator("figcaption output").inner_text()
    )
    assert drawn.bounding_box() == place, "what lies below stays where it is"
    assert float(str(drawn.get_attribute("viewBox")).split()[2]) == pytest.approx(float(whole.split()[2]) / 4, rel=0.05)
    back.click()
    assert drawn.get_attribute("viewBox") == whole
    page.get_by_role("button", name="zoom in: List").focus()
    page.keyboard.press("Enter")
    part = drawn.get_attribute("viewBox")
    assert part != whole
    page.keyboard.press("ArrowRight")
    assert drawn.get_attribute("viewBox") not in (part, whole)
    drawn.dblclick()
    assert drawn.get_attribute("viewBox") == whole
    page.close()


def test_a_run_is_judged_again_from_its_folder_alone(environment: dict[str, str], tmp_path: Path) -> None:
    """In a state of its own, in which nothing was ever started."""
    run = (Path(environment["ARCHZERO_REPORTS"]) / "latest").resolve()
    there = tmp_path / "reports" / run.name
    shutil.copytree(run, there)
    before = json.loads((there / "summary.json").read_text())
    (there / "summary.json").write_text(json.dumps(before | {"claims": []}))
    elsewhere = {**environment, "ARCHZERO_STATE": str(tmp_path / "state"), "ARCHZERO_REPORTS": str(there.parent)}
    judged = lab(elsewhere, "judge", run.name)
    assert judged.returncode == 0, judged.stderr
    again = json.loads((there / "summary.json").read_text())
    assert again["claims"] == before["claims"]
    shown = lab(elsewhere, "show", run.name)
    assert shown.returncode == 0, shown.stderr
    assert (there / "index.html").stat().st_mtime > (run / "index.html").stat().st_mtime
    assert recorded(elsewhere) == []
    assert not (tmp_path / "state" / "servers").exists()


def test_a_notebook_opened_by_any_kernel_of_the_environment_runs(environment: dict[str, str], tmp_path: Path) -> None:
    """As VS Code, another Jupyter or nbclient opens it: the kernel by its name, nothing set for it."""
    code = (
        "import nbformat, sys; from nbclient import NotebookClient\n"
        "notebook = nbformat.read(sys.argv[1], as_version=4)\n"
        "NotebookClient(notebook, kernel_name='python3', resources={'metadata': {'path': sys.argv[2]}}).execute()"
    )
    plain = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "notebooks" / "04_scorecard.ipynb"), str(tmp_path)],
        capture_output=True, text=True, timeout=200, env=plain, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def small_stack(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """What notebooks of one's own ask, kept up with few cards."""
    up = lab(environment, "up", "--cards", "1000")
    assert up.returncode == 0, up.stderr
    yield environment
    lab(environment, "down")


def test_a_new_notebook_runs_as_it_stands_and_is_never_overwritten(small_stack: dict[str, str]) -> None:
    environment = small_stack
    path = ROOT / "notebooks" / "own" / "made_by_a_test.ipynb"
    path.unlink(missing_ok=True)
    try:
        made = lab(environment, "new", "made_by_a_test")
        assert made.returncode == 0, made.stderr
        assert "./lab report --notebook made_by_a_test" in made.stdout
        ran = lab(environment, "report", "--notebook", "made_by_a_test")
        assert ran.returncode == 0, ran.stderr
        page = Path(environment["ARCHZERO_REPORTS"]).glob("*-notebook-*/made_by_a_test.html")
        assert "treatment / control" in next(page).read_text()
        again = lab(environment, "new", "made_by_a_test")
        assert (again.returncode, "there is a notebook made_by_a_test already" in again.stderr) == (2, True)
        wrong = lab(environment, "new", "../evil")
        assert (wrong.returncode, "cannot name a notebook" in wrong.stderr) == (2, True)
    finally:
        path.unlink(missing_ok=True)


def test_a_new_claim_is_measured_by_its_notebook_and_listed_with_the_others(
    small_stack: dict[str, str], tmp_path: Path
) -> None:
    environment = small_stack
    path = ROOT / "notebooks" / "own" / "claimed_by_a_test.ipynb"
    path.unlink(missing_ok=True)
    own = {**environment, "ARCHZERO_CLAIMS": str(tmp_path / "claims.own.toml")}
    try:
        made = lab(own, "new", "claimed_by_a_test", "--claim")
        assert made.returncode == 0, made.stderr
        ran = lab(own, "report", "--notebook", "claimed_by_a_test")
        assert ran.returncode == 0, ran.stderr
        page = next(Path(environment["ARCHZERO_REPORTS"]).glob("*-notebook-*/claimed_by_a_test.html")).read_text()
        assert re.search("Claimed by a test: (confirmed|refuted|inconclusive)", page)
        assert "<svg" in page
        path.unlink()
        again = lab(own, "new", "claimed_by_a_test", "--claim")
        assert (again.returncode, "there is a claim claimed_by_a_test already" in again.stderr) == (2, True)
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)
