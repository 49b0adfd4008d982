"""Figures of data that has nothing to show, or only a little, are figures all the same."""

from __future__ import annotations

import pandas as pd
import pytest

from archzero_lab.reporting import course_figures


@pytest.mark.parametrize(
    "late",
    [
        {"ours": ([], 1_000)},
        {"ours": ([], 1_000), "another": ([0.0, 5.0, 900.0], 500)},
        {"another": ([2_500.0], 100)},
    ],
)
def test_staleness_with_and_without_a_stale_read(late: dict[str, tuple[list[float], int]]) -> None:
    made = course_figures.staleness(late)
    assert made.svg.startswith("<svg")
    for name, (times, reads) in late.items():
        assert f"{name} {len(times) / reads:.3%} stale" in made.alt


def test_a_time_line_without_a_failed_read() -> None:
    reads = pd.DataFrame({"t_s": [0.0, 1.0], "reader": ["cached", "uncached"], "ms": [0.5, 1.0], "status": [200, 200]})
    hits = pd.DataFrame({"t_s": [0.5], "hit_rate": [1.0]})
    made = course_figures.time_line(reads, hits, [(0.0, 1.0, None), (1.0, 2.0, "Redis dead")])
    assert made.alt.endswith("through Redis dead; 0 refused")


def test_evidence_whose_interval_is_not_there_yet() -> None:
    made = course_figures.evidence_course(
        {"e": [1.0, 2.0], "ci_low": [None, None], "ci_high": [None, None]}, 0.9, "A claim"
    )
    assert "e value 2 after 2 blocks" in made.alt


def test_a_sweep_of_one_cell() -> None:
    cells = pd.DataFrame(
        [
            {
                "size": 1_000, "database_ms": 0.0, "redis_ms": 0.0, "before_ms": 2.0, "after_ms": 1.0, "claimed": 0.9,
                "improvement": 0.5, "ci_low": 0.4, "ci_high": 0.6, "verdict": "refuted",
            }
        ]
    )  # fmt: skip
    assert "1,000 rows 2 to 1 ms" in course_figures.sweep_lines(cells, "A claim").alt
    assert course_figures.sweep_map(cells, "A claim").alt == "A claim: 1 refuted"
