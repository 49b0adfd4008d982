"""What is made of a load's files: figures, tables, the capacity on a report's page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from archzero_lab.jobs.load.request import LoadRequest
from archzero_lab.jobs.load.result import capacity_entry, capacity_of, load_entry, seconds_frame, trials_frame
from archzero_lab.jobs.report import pictures as claim_pictures
from archzero_lab.jupyter.load import Load
from archzero_lab.run_folders import finding
from archzero_lab.run_folders.run import Run

TIMES = {"p50": 0.002, "p95": 0.02, "p99": 0.04, "max": 0.3}


def _found(rate: float) -> dict[str, Any]:
    """A result as loadtests/results.py makes it: two trials, four seconds."""
    trials = [
        {"rate_per_s": offered, "achieved_rate_per_s": min(offered, rate), "requests": 400, "response_time_s": TIMES,
         "slow_share": 0.0 if offered <= rate else 0.4, "error_share": 0.0, "held": offered <= rate, "reasons": [],
         "generator_in_the_way": False}
        for offered in (rate, rate * 1.1)
    ]  # fmt: skip
    seconds = [
        {"t_s": at, "offered": 100, "done": 100, "failed": at, "dropped": 0,
         **{f"response_{name}_s": value for name, value in TIMES.items()}, "service_p50_s": 0.002,
         "service_p99_s": 0.03, "late_p99_s": 0.001, "generator_cpu_percent": 20.0, "generator_rss_bytes": 60e6}
        for at in range(4)
    ]  # fmt: skip
    service = [{"at": 1_000.4 + at, "hit_rate": 0.5, "near_share": 0.2, "statements_per_s": 50.0, "by_kind": {}}
               for at in range(3)]  # fmt: skip
    return {
        "host": "http://127.0.0.1:1", "workload": "open", "shape": "capacity", "warm_up_s": 1, "began": 1_000.0,
        "seconds": 3, "offered_rate_per_s": 100.0, "achieved_rate_per_s": 100.0, "requests": 400, "failures": 6,
        "dropped": 0, "response_time_s": TIMES, "service_time_s": TIMES, "lateness_s": {"p50": 0.0, "p99": 0.001},
        "valid": True, "reasons": ["block 1: the generator was late (p99 9 ms)"], "failed_because": {},
        "actions": {"open card": {"requests": 400, "failures": 6, "response_time_s": TIMES}}, "blocks": [],
        "trials": trials, "capacity": {"rate_per_s": rate, "generator_in_the_way": False},
        "by_second": seconds, "service": service,
    }  # fmt: skip


def write_capacity(folder: Path, *, size: int = 1_000, machine: str = "abcd1234") -> None:
    """A capacity's folder as ./lab load leaves it: control at none, treatment at about 400 a second."""
    folder.mkdir(parents=True)
    arms, trials, seconds = [], [], []
    for arm, rates in (("control", [0.0] * 6), ("treatment", [380.0, 400.0, 390.0, 410.0, 405.0, 395.0])):
        rounds = [_found(max(rate, 10.0)) for rate in rates]
        if arm == "control":
            rounds = [found | {"trials": [trial | {"held": False} for trial in found["trials"]]} for found in rounds]
        entry = capacity_entry(arm, rounds) | {"capacity": capacity_of(rates).as_dict()}
        arms.append(entry | {name: rounds[-1][name] for name in ("actions", "blocks", "failed_because", "seconds")})
        trials.append(trials_frame(arm, rounds))
        seconds += [seconds_frame(arm, found).assign(round=number) for number, found in enumerate(rounds)]
    pd.concat(trials).to_parquet(folder / "trials.parquet", index=False)
    pd.concat(seconds).to_parquet(folder / "load_seconds.parquet", index=False)
    used = [{"at": 1_000.0 + at, "process": "service", "cpu_percent": 30.0, "rss_bytes": 1e8, "arm": arm, "round": 5}
            for arm in ("control", "treatment") for at in range(4)]  # fmt: skip
    pd.DataFrame(used).to_parquet(folder / "load_resources.parquet", index=False)
    request = LoadRequest(arms=("control", "treatment"), shape="capacity").as_dict()
    loads = {"request": request, "arms": arms, "run_id": folder.name, "size": size, "machine": machine,
             "git_commit": "0123456789"}  # fmt: skip
    (folder / "loads.json").write_text(json.dumps(loads))


def test_a_load_is_read_back_with_its_tables_and_figures(tmp_path: Path) -> None:
    write_capacity(tmp_path / "20260101-000000-load-aaaa")
    load = Load(Run(tmp_path / "20260101-000000-load-aaaa"))
    assert load.arms == ["control", "treatment"]
    assert load.table().loc["treatment", "p99_ms"] == 40.0
    assert load.capacity_table().loc["control", "rate_per_s"] == 0.0
    assert "treatment 397/s" in load.capacities().alt
    assert "control under 10/s" in load.capacities().alt
    assert "control held at none" in load.curves().alt
    assert "400 answers" not in load.course("treatment").alt  # the warm-up second is not counted
    assert "300 answers in 3 s, 6 failed or dropped" in load.course("treatment").alt
    assert "service 30 %" in load.use("treatment").alt
    assert "locust 20 %" in load.use("treatment").alt
    assert load.actions().loc[("treatment", "open card"), "failures"] == 6
    assert "block 1: the generator was late" in repr(load.trust())


def test_no_arm_s_reservations_are_lost_among_another_s(tmp_path: Path) -> None:
    write_capacity(tmp_path / "load")
    load = Load(Run(tmp_path / "load"))
    first, second = load.told["arms"]
    first["reasons"] = [f"round {number}: late" for number in range(20)]
    second["reasons"] = ["round 3: busy"]
    assert load.trust().warnings == (
        "control: round 0: late", "control: round 1: late", "control: round 2: late",
        "control: and 17 more of the kind", "treatment: round 3: busy",
    )  # fmt: skip


def test_a_capacity_that_locust_limited_is_not_valid_and_every_round_says_why() -> None:
    rounds = [_found(rate) | {"reasons": []} for rate in (300.0, 380.0, 400.0, 390.0, 410.0, 405.0, 395.0)]
    assert capacity_entry("treatment", rounds)["valid"]
    rounds[0]["capacity"]["generator_in_the_way"] = True
    rounds[0]["reasons"] = ["at 330/s the generator was late (p99 30 ms)"]
    first = capacity_entry("treatment", rounds)
    assert first["valid"], "the first search is not analysed"
    assert first["reasons"] == ["round 0: at 330/s the generator was late (p99 30 ms)"]
    rounds[3]["capacity"]["generator_in_the_way"] = True
    assert not capacity_entry("treatment", rounds)["valid"]
    assert capacity_entry("treatment", rounds)["capacity"]["rounds"] == [380.0, 400.0, 390.0, 410.0, 405.0, 395.0]


def test_the_password_of_a_host_is_not_kept() -> None:
    found = load_entry("host", _found(10.0) | {"host": "http://me:s3cret@127.0.0.1:1"}, None)
    assert found["host"] == "http://me:***@127.0.0.1:1"
    assert "s3cret" not in json.dumps(found)


def test_a_report_shows_the_newest_capacity_of_its_machine_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "REPORTS", tmp_path)
    assert claim_pictures.capacity_section(1_000, "abcd1234") is None
    write_capacity(tmp_path / "20260101-000000-load-aaaa")
    write_capacity(tmp_path / "20260102-000000-load-bbbb", size=5_000)
    write_capacity(tmp_path / "20260103-000000-load-cccc", machine="another")
    found = claim_pictures.capacity_section(1_000, "abcd1234")
    assert found is not None
    assert found["run_id"] == "20260101-000000-load-aaaa"
    assert [row["rate"] for row in found["rows"]] == ["under 10/s", "397/s"]
    assert len(found["figures"]) == 2
