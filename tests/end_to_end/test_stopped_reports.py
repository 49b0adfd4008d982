"""Reports that are stopped, by a person, by a program or by its death: what is measured is kept, nothing is left."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from archzero_lab.settings import ROOT
from tests.end_to_end.command import lab, recorded


def _events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def test_a_report_that_a_program_stops_ends_after_the_block_and_goes_on_with_the_next(
    environment: dict[str, str],
) -> None:
    process = subprocess.Popen(
        [str(ROOT / "lab"), "report", "--no-notebooks", "--profile", "smoke", "--cards", "1000", "--only",
         "card_detail_cached", "--progress", "json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    blocks = (told for told in _events(process) if "block" in told)
    first = next(blocks)
    assert set(first["ms"]) == {"control", "treatment"}
    assert process.stdin is not None
    process.stdin.write("stop\n")
    process.stdin.flush()
    last = max([first["block"], *(told["block"] for told in blocks)])
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait(timeout=60) == 2
    found = re.search(rf"stopped after block {last + 1} of 12 of card_detail_cached; .* in run (\S+)", said)
    assert found, said
    run = Path(environment["ARCHZERO_REPORTS"]) / found.group(1)
    before = pd.read_parquet(run / "samples.parquet")
    assert before["block"].nunique() == last + 1
    done = lab(environment, "report", "--resume", run.name)
    assert done.returncode == 0, done.stderr
    after = pd.read_parquet(run / "samples.parquet")
    assert after["block"].nunique() == 12
    assert after.groupby(["block", "arm"]).size().nunique() == 1, "no block twice"
    pd.testing.assert_frame_equal(after[: len(before)], before)


def test_a_report_whose_program_is_gone_ends(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [str(ROOT / "lab"), "report", "--no-notebooks", "--profile", "smoke", "--cards", "1000", "--progress", "json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    next(told for told in _events(process) if told["stage"] == "load")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=60) == 130
    assert recorded(environment) == []


def test_a_report_that_is_interrupted_goes_on_without_measuring_again(environment: dict[str, str]) -> None:
    reports = Path(environment["ARCHZERO_REPORTS"])
    process = subprocess.Popen(
        [str(ROOT / "lab"), "report", "--no-notebooks", "--profile", "smoke", "--cards", "1000", "--only",
         "card_detail_cached", "--only", "works_without_redis"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (begun := [path for path in reports.glob("*/progress.json") if "measured" in path.read_text()]):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    run = begun[0].parent
    assert f"./lab report --resume {run.name}" in out
    assert not (run / "summary.json").exists()
    measured = (run / "samples.parquet").read_bytes()
    done = lab(environment, "report", "--resume", run.name)
    assert done.returncode == 0, done.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert summary["resumed"] is True
    assert [claim["id"] for claim in summary["claims"]] == ["card_detail_cached", "works_without_redis"]
    assert summary["claims"][0]["measured"]["blocks"] == 12
    assert (run / "samples.parquet").read_bytes() == measured, "the same samples, not new ones"
    assert [stage["name"] for stage in summary["stages"]].count("measure") == 1
    assert not (run / "progress.json").exists()
    again = lab(environment, "report", "--resume", run.name)
    assert again.returncode == 2
    assert f"no interrupted run '{run.name}'" in again.stderr
