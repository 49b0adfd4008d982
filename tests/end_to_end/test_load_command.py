"""./lab load as a person calls it: its table and files, the web UI with the live page, replay, and what it refuses."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser

from archzero_lab.servers.ports import free_port
from archzero_lab.settings import ROOT
from tests.end_to_end.command import lab, recorded
from tests.end_to_end.page_probe import PICTURES, faults_of
from tests.end_to_end.watching import get, until

SMALL = ("--cards", "1000", "--duration", "4", "--warm-up", "1")


def test_a_load_on_two_arms_prints_a_table_and_writes_json_and_its_report(
    environment: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "load.json"
    done = lab(environment, "load", "--arm", "control", "--arm", "near", "--rate", "40", *SMALL, "--json", str(out))
    assert done.returncode in (0, 3), done.stderr  # 3: the generator was in the way, on a machine that is busy
    assert "open workload, constant" in done.stdout
    control, near = json.loads(out.read_text())
    assert (control["arm"], near["arm"]) == ("control", "near")
    for told in (control, near):
        assert set(told) == {
            "host", "arm", "workload", "shape", "offered_rate_per_s", "achieved_rate_per_s", "requests", "failures",
            "dropped", "response_time_s", "service_time_s", "lateness_s", "valid", "reasons", "capacity", "saturated",
        }  # fmt: skip
        assert told["failures"] == 0
        assert told["requests"] == pytest.approx(160, rel=0.3)
        assert told["response_time_s"]["p50"] <= told["response_time_s"]["p99"] <= told["response_time_s"]["max"]
        assert told["capacity"] is None
    assert (done.returncode == 0) == (control["valid"] and near["valid"])
    folder = Path(environment["ARCHZERO_REPORTS"]) / "latest-load"
    page = (folder / "07_load.html").read_text()
    assert page.count("<figure") == 5  # all arms together; of each its course and what it used
    answered = r"near: \d+ answers a second"
    assert re.search(answered, page)
    assert re.search(answered, done.stdout.replace("\n", " "))
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//[^"')\s>]+""", page)
    seconds = pd.read_parquet(folder / "load_seconds.parquet")
    assert (seconds.loc[seconds["arm"] == "near", "near_share"].fillna(0) > 0).any()
    used = pd.read_parquet(folder / "load_resources.parquet")
    assert {"service", "postgres", "redis"} <= set(used["process"])
    assert (used["rss_bytes"] > 1_000_000).all()
    assert recorded(environment) == []


def test_the_loads_page_can_be_read_at_four_sizes_by_day_and_by_night(
    environment: dict[str, str], browser: Browser
) -> None:
    folder = (Path(environment["ARCHZERO_REPORTS"]) / "latest-load").resolve()
    PICTURES.mkdir(parents=True, exist_ok=True)
    assert faults_of(browser.new_page(), folder / "07_load.html", picture=PICTURES) == []


def _lines_with(log: Path, method: str) -> list[dict[str, Any]]:
    """The lines of an access log, once one of them is of that method."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    return lines if any(line["method"] == method for line in lines) else []


def test_what_was_recorded_is_sent_again_and_faster(environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    port = free_port()
    process = subprocess.Popen(
        [str(ROOT / "lab"), "serve", "--cards", "1000", "--port", str(port), "--record", str(log)],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        card = json.loads(until(lambda: get(url + "/api/v1/cards?pageSize=2"), 120))["data"][0]["id"]
        for _ in range(20):
            get(url + "/api/v1/cards?q=a%20b&pageSize=3")
            time.sleep(0.1)  # the pace that is recorded
        body = json.dumps({"qualityScore": 7}).encode()
        headers = {"Content-Type": "application/json", "Authorization": "Bearer s3cret"}
        urllib.request.urlopen(
            urllib.request.Request(f"{url}/api/v1/cards/{card}", body, headers, method="PUT"), timeout=20
        ).close()
        # a line is written once its answer is on its way
        lines = until(lambda: _lines_with(log, "PUT"), 10)
        assert lines[-1]["method"] == "PUT"
        assert json.loads(lines[-1]["body"]) == {"qualityScore": 7}
        assert all("body" not in line for line in lines if line["method"] == "GET")
        assert "s3cret" not in log.read_text()
        asked = [line for line in lines if line["path"].startswith("/api/v1/cards")]
        copy = tmp_path / "copy.log"
        copy.write_text("".join(json.dumps(line) + "\n" for line in asked))
        done = lab(environment, "load", "--host", url, "--replay", str(copy), "--speed", "2", "--json", "-")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert done.returncode in (0, 3), done.stderr
    took = asked[-1]["time"] - asked[0]["time"]
    assert f"copy.log: {len(asked)} requests in {took:.0f} s" in done.stdout
    told = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    assert (told["workload"], told["shape"], told["arm"]) == ("open", "replay", "host")
    assert (told["requests"], told["failures"]) == (len(asked), 0)
    assert recorded(environment) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "http://127.0.0.1:1"], "cannot reach http://127.0.0.1:1"),
        (["--host", "http://u:s3cret@127.0.0.1:1"], "cannot reach http://u:***@127.0.0.1:1"),
        (["--host", "http://example.org"], "where it is: --i-own-this-host example.org"),
        (["--host", "nonsense"], "give a URL such as http://127.0.0.1:3000"),
        (["--shape", "zigzag"], "unknown shape 'zigzag'; known: constant, ramp"),
        (["--arm", "turbo"], "unknown arm 'turbo'; known: control, indexes, cache, treatment, v2, v2-cache, near"),
        (["--rate", "5", "--users", "3"], "--rate is an open workload and --users a closed one"),
        (["--shape", "replay"], "--shape replay and --replay FILE go together"),
        (["--master"], "--master has workers on other machines"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_a_line(environment: dict[str, str], arguments: list[str], told: str) -> None:
    done = lab(environment, "load", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "s3cret" not in done.stderr + done.stdout


def test_a_host_that_is_no_card_service_and_a_log_that_cannot_be_read_are_refused(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    other = subprocess.Popen(
        [sys.executable, "-m", "archzero_lab.jobs.report.constant_server", str(port)],
        env=environment,
    )
    try:
        until(lambda: get(f"http://127.0.0.1:{port}/"))
        wrong = lab(environment, "load", "--host", f"http://127.0.0.1:{port}")
    finally:
        other.terminate()
        other.wait()
    assert wrong.returncode == 2
    assert "answers /api/v1/cards otherwise than the Arc Zero API" in wrong.stderr
    log = tmp_path / "broken.log"
    log.write_text('{"time": 1, "method": "GET", "path": "/api/v1/cards"}\nwhat is this\n')
    broken = lab(environment, "load", "--replay", str(log))
    assert broken.returncode == 2
    assert "broken.log line 2 can be read neither" in broken.stderr
    assert recorded(environment) == []
