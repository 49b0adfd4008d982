"""Pages that no report makes, as files: an index experiment's as it was measured, a self-check's, one of two runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from archzero_lab.jobs.indexes.page import page as index_page
from archzero_lab.jobs.studies.self_check import Delay, Same, SelfCheck
from archzero_lab.jobs.studies.self_check_page import self_check_page
from archzero_lab.stats.comparison import compare
from archzero_lab.stats.verdict import change


def other_pages(folder: Path, reports: Path) -> list[Path]:
    """All of them, written below `folder`; the comparison is one that `lab compare` wrote."""
    of_indexes, of_machine = folder / "indexes.html", folder / "self-check.html"
    experiment = json.loads(Path(__file__).with_name("index_experiment.json").read_text())
    experiment["findings"][0]["name"] += "_and_a_long_name_that_nobody_would_type_by_hand_but_that_tools_make_up_idx"
    of_indexes.write_text(index_page(experiment))
    of_machine.write_text(self_check_page(_self_check()))
    return [of_indexes, of_machine, reports / "comparison.html"]


def _self_check() -> SelfCheck:
    """As on a machine where one metric came out different."""
    rng = np.random.default_rng(1)
    same, slots = [], []
    for operation, middle in (("list", 12.0), ("detail", 0.4)):
        a, b = (middle * rng.lognormal(0, 0.03, 20) for _ in range(2))
        seen = compare(a.tolist(), b.tolist())
        same.append(Same(operation, "p50", seen, change(seen.ci_low, seen.ci_high, 0.1), 0.031))
        for arm, values in (("a", a), ("b", b)):
            slots.append(
                pd.DataFrame({"block": range(1, 21), "arm": arm, "ms": values, "metric": "p50", "operation": operation})
            )
    delays = [Delay("PostgreSQL", 5.0, 5.3, 5.1, 5.6), Delay("Redis", 2.0, 2.9, 2.7, 3.1)]
    return SelfCheck("0a1b2c3d", same, delays, pd.concat(slots, ignore_index=True))
