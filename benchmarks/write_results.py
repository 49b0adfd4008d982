"""Writes what a finished report came to into the documentation: docs/results.md, the README's table, two pictures.

PYTHONPATH=. .venv/bin/python benchmarks/write_results.py RUN    draws them of a run
PYTHONPATH=. .venv/bin/python benchmarks/write_results.py --age  tells how far the code has gone on since
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from archzero_lab.reporting.run_words import headline, measured_when, rows_in_words
from archzero_lab.reporting.scorecard import rows
from archzero_lab.run_folders.finding import find_run
from archzero_lab.settings import CHECKOUT

RESULTS = CHECKOUT / "benchmarks" / "results" / "report.json"
"""The summary that the documentation is made from."""
_OF_THE_MACHINE = ("parameters", "asked")
"""What says where the files of a run lay."""
SHOWN = ("card_list_cached", "card_detail_cached", "search_gin", "cache_hit_rate")
"""The README's four."""


def kept_of(summary: dict[str, Any]) -> dict[str, Any]:
    """What is committed of a run's summary."""
    return {name: value for name, value in summary.items() if name not in _OF_THE_MACHINE}


def results_table(summary: dict[str, Any]) -> str:
    """All claims, a row each, under a line that says what they were measured on."""
    environment = summary["environment"]
    head = (
        f"{rows_in_words(summary)}; {measured_when(summary)}; commit {environment['git_commit'][:7]}:\n\n"
        f"**{headline(summary)}**\n\n| claim of phase 5 | claimed | measured | 95 % interval | verdict |\n"
        "|---|---|---|---|---|\n"
    )
    cells = ("title", "claimed", "measured", "interval")
    return head + "\n".join(
        f"| {' | '.join(row[cell] for cell in cells)} | {row['mark']} {row['verdict']} |" for row in rows(summary)
    )


def readme_table(summary: dict[str, Any]) -> str:
    """The README's rows."""
    told = {row["id"]: row for row in rows(summary)}
    return "| phase 5 claimed | measured | verdict |\n|---|---|---|\n" + "\n".join(
        f"| {told[name]['title']}: {told[name]['claimed']} | {told[name]['measured']} ({told[name]['interval']}) |"
        f" {told[name]['mark']} {told[name]['verdict']} |"
        for name in SHOWN
    )


def between(text: str, table: str) -> str:
    """The text with a table between its marks."""
    return re.sub(
        r"(<!-- results -->\n).*?(\n<!-- /results -->)",
        lambda found: found[1] + table + found[2],
        text,
        flags=re.DOTALL,
    )


def _pictures(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    browser = next(path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(path).exists())
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page(viewport={"width": 1060, "height": 760})
        page.goto((folder / "index.html").as_uri())
        page.screenshot(path=CHECKOUT / "docs" / "report.png")
        page.locator("figure").first.screenshot(path=CHECKOUT / "docs" / "scorecard.png")
        started.close()


def _age() -> str:
    summary = json.loads(RESULTS.read_text())
    commit = summary["environment"]["git_commit"]
    told = subprocess.run(
        ["git", "-C", str(CHECKOUT), "rev-list", "--count", f"{commit}..HEAD", "--", "archzero_lab", "sql"],
        capture_output=True, text=True,
    )  # fmt: skip
    since = told.stdout.strip() if told.returncode == 0 else "an unknown number of"
    return f"docs/results.md was measured at {commit[:7]}; {since} commits have changed the code since"


def main() -> None:
    """Write the tables and pictures of a run, or tell their age."""
    if sys.argv[1:] == ["--age"]:
        print(_age())
        return
    run = find_run(sys.argv[1])
    summary = run.summary
    RESULTS.write_text(json.dumps(kept_of(summary), indent=1, default=str) + "\n")
    for name, table in (("docs/results.md", results_table(summary)), ("README.md", readme_table(summary))):
        path = CHECKOUT / name
        path.write_text(between(path.read_text(), table))
    _pictures(run.path)


if __name__ == "__main__":
    main()
