"""Notebooks that measure what no run holds yet: staleness, degradation, a load; a capacity that is there."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.command import recorded
from tests.end_to_end.notebooks import run_by_hand
from tests.unit.test_load_reports import write_capacity


def test_notebooks_measure_draw_and_leave_nothing_running(environment: dict[str, str], tmp_path: Path) -> None:
    capacity = tmp_path / "capacity"
    write_capacity(capacity)
    run_by_hand(
        environment, tmp_path,
        {"05_staleness": {"reads": 2_000, "peers": False, "faults": ["pause", "flush"]},
         "06_degradation": {"phase_s": 1.0}, "07_load": {"cards": 1_000},
         "08_capacity": {"load": str(capacity)},
         "13_failover": {"minutes": 0.1, "faults": ["primary killed", "pause"]},
         "14_scaling": {"seconds": 0.3, "rounds": 1}},
    )  # fmt: skip
    for name in ("05_staleness", "06_degradation", "07_load", "08_capacity", "13_failover", "14_scaling"):
        assert "<svg" in (tmp_path / f"{name}.html").read_text(), name
    assert recorded(environment) == []
