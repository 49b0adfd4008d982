"""Pages that no report makes, as files: an index experiment's as it was measured, a self-check's, one of two runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from archzero_lab.jobs.indexes.page import page as index_page
from archzero_lab.jobs.studies.self_check import Delay, Same, SelfCheck
from archzero_lab.jobs.studies.self_check_page import self_check_page
from archzero_lab.jobs.studies.study_pages import pool_page, sweep_page
from archzero_lab.stats.comparison import compare
from archzero_lab.stats.verdict import change


def other_pages(folder: Path, reports: Path) -> list[Path]:
    """All of them, written below `folder`; the comparison is one that `lab compare` wrote."""
    of_indexes, of_machine = folder / "indexes.html", folder / "self-check.html"
    experiment = json.loads(Path(__file__).with_name("index_experiment.json").read_text())
    experiment["findings"][0]["name"] += "_and_a_long_name_that_nobody_would_type_by_hand_but_that_tools_make_up_idx"
    of_indexes.write_text(index_page(experiment))
    of_machine.write_text(self_check_page(_self_check()))
    of_sweep, of_pool = folder / "sweep.html", folder / "pool.html"
    of_sweep.write_text(sweep_page(_sweep(), "the card service"))
    of_pool.write_text(pool_page(_pool(), "the card service"))
    return [of_indexes, of_machine, of_sweep, of_pool, reports / "comparison.html"]


def _sweep() -> pd.DataFrame:
    """A claim that holds only where the database is large or far."""
    rows = []
    for size in (10_000, 100_000):
        for far in (0.0, 1.0, 5.0):
            gained = 0.5 + 0.1 * (size > 10_000) + 0.06 * far
            rows.append({"claim": "detail", "title": "Card detail, cached", "size": size, "database_ms": far,
                         "redis_ms": 0.0, "before_ms": 2.0 + far, "after_ms": (2.0 + far) * (1 - gained),
                         "claimed_after_ms": 1.0, "claimed": 0.7, "improvement": gained, "ci_low": gained - 0.02,
                         "ci_high": gained + 0.02, "verdict": "confirmed" if gained > 0.72 else "refuted",
                         "note": "p50 less"})  # fmt: skip
    return pd.DataFrame(rows)


def _pool() -> pd.DataFrame:
    """A pool that a crowd waits for until it has five connections."""
    return pd.DataFrame([
        {"size": size, "users": users, "round": number, "throughput_per_s": min(size, users, 5) * 210.0 + number,
         "mean_ms": users / min(size, 5) * 4.2, "p95_ms": users / min(size, 5) * 9.1, "refused_per_min": 0.0,
         "acquire_wait_s": max(users - size, 0) * 0.004, "held_s": 0.0031, "postgres_cores": min(size, 5) * 0.3,
         "active_backends": float(min(size, users, 5))}
        for users in (1, 8, 50) for size in (1, 2, 5, 15) for number in (1, 2, 3)
    ])  # fmt: skip


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
