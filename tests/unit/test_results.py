"""What the documentation says was measured is what the stored run says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from archzero_lab.settings import CHECKOUT
from benchmarks.write_results import RESULTS, between, kept_of, readme_table, results_table


def test_readme_and_results_have_the_rows_of_the_stored_run() -> None:
    summary = json.loads(RESULTS.read_text())
    for name, table in (("README.md", readme_table(summary)), ("docs/results.md", results_table(summary))):
        text = (CHECKOUT / name).read_text()
        assert table in text
        assert between(text, table) == text


def test_the_readme_is_read_in_a_minute() -> None:
    text = (CHECKOUT / "README.md").read_text()
    assert len(text.encode()) <= 6_000
    assert len(text.split()) <= 700


@pytest.mark.parametrize("path", sorted(RESULTS.parent.glob("*.json")), ids=lambda path: path.stem)
def test_a_stored_result_tells_no_path_of_the_machine(path: Path) -> None:
    assert re.findall(r"/(?:home|root|tmp|var|usr|opt|mnt|srv|work|workspace|Users)/[^\s\"]*", path.read_text()) == []


def test_where_the_files_of_a_run_lay_is_not_kept() -> None:
    asked = {"files": {"inventory": "/home/somebody/cards.jsonl.gz"}}
    assert kept_of({"seed": 1, "asked": asked, "parameters": asked}) == {"seed": 1}
