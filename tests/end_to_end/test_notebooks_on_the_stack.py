"""Notebooks that ask the stack that stays up: the start page, an experiment of one's own, N+1, the pool."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.end_to_end.command import lab
from tests.end_to_end.notebooks import run_by_hand


def test_notebooks_wait_for_their_verdicts_where_nobody_watches_and_leave_the_stack_up(
    environment: dict[str, str], tmp_path: Path
) -> None:
    small = {"sizes": [2, 15], "users": [4], "cards": 2_000, "seconds": 0.5, "rounds": 1}
    run_by_hand(
        environment, tmp_path,
        {"00_start": {"cards": 2_000}, "09_own_experiment": {"blocks": 6}, "11_n_plus_one": {"cards": 2_000},
         "12_pool": small},
    )  # fmt: skip
    own = (tmp_path / "09_own_experiment.html").read_text()
    assert len(re.findall(r"<strong>(?:improved|regressed|equivalent|inconclusive)</strong>", own)) == 3
    assert json.loads(lab(environment, "status", "--json").stdout)["service"]["url"]
