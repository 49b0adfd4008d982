"""What the documentation says was measured is what the stored run says."""

from __future__ import annotations

import json

from archzero_lab.settings import CHECKOUT
from benchmarks.write_results import RESULTS, between, readme_table, results_table


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
