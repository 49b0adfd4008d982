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

from archzero_lab.servers.process import free_port
from archzero_lab.settings import ROOT
from tests.end_to_end.command import lab, recorded
from tests.end_to_end.page_probe import PICTURES, faults_of

SMALL = ("--cards", "1000", "--duration", "4", "--warm-up", "1")


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def _until(what: Any, timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if found := what():
                return found
        except OSError:
            pass  # it does not listen yet
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


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
        card = json.loads(_until(lambda: _get(url + "/api/v1/cards?pageSize=2"), 120))["data"][0]["id"]
        for _ in range(20):
            _get(url + "/api/v1/cards?q=a%20b&pageSize=3")
            time.sleep(0.1)  # the pace that is recorded
        body = json.dumps({"qualityScore": 7}).encode()
        headers = {"Content-Type": "application/json", "Authorization": "Bearer s3cret"}
        urllib.request.urlopen(
            urllib.request.Request(f"{url}/api/v1/cards/{card}", body, headers, method="PUT"), timeout=20
        ).close()
        # a line is written once its answer is on its way
        lines = _until(lambda: _lines_with(log, "PUT"), 10)
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


def test_the_web_ui_has_classes_shapes_and_a_live_page_and_leaves_nothing(
    environment: dict[str, str], browser: Browser
) -> None:
    port = free_port()
    process = subprocess.Popen(
        [str(ROOT / "lab"), "load", "--ui", "--arm", "near", "--cards", "1000", "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        page = _until(lambda: _get(url + "/"), 120)
        for name in ("PortfolioUser", "Capacity", "Spike", "arrival_rate"):
            assert name in page
        assert "ImportsBatches" not in page, "what is ticked at first is the mix as it is"
        assert 'href="live"' in page
        assert "Plotly.react" in _get(url + "/live")
        assert len(_get(url + "/live/plotly.js")) > 1_000_000
        shown = browser.new_page()
        shown.goto(url + "/live")
        shown.wait_for_function("document.querySelectorAll('.annotation-text').length === 7")
        assert set(shown.locator(".annotation-text").all_text_contents()) == {"begins with a run"}
        assert "no run yet" in shown.inner_text("#state")

        # seconds that nobody answered in are a gap with its reason, not a line across it
        gone = browser.new_page()
        times = [{"at": at, "requests": 5, "failures": 0, "p50": 1.0, "p95": 2.0, "p99": 3.0} for at in (1, 2, 9, 10)]
        told = {"state": "running", "host": url, "answered": 20, "failed": 0, "times": times, "service": []}
        gone.route("**/live/data", lambda route: route.fulfill(json=told))
        gone.goto(url + "/live")
        gone.wait_for_function("document.querySelectorAll('.annotation-text').length === 7")
        assert gone.locator(".annotation-text").all_text_contents()[:2] == ["nothing was answered"] * 2
        lines = gone.evaluate("document.querySelector('.js-plotly-plot').data[0].y")
        assert lines == [1, 1, None, 1, 1]
        gone.close()

        refused = {
            name: _post(url + "/swarm", {"user_count": "1", "spawn_rate": "1", **form}, headers)
            for name, form, headers in (
                ("origin", {}, {"Origin": "http://evil.example"}),
                ("site", {}, {"Sec-Fetch-Site": "cross-site"}),
                ("name", {}, {"Host": f"evil.example:{port}"}),
                ("host", {"host": "http://192.0.2.1"}, {}),
            )
        }
        assert {name: status for name, (status, _) in refused.items()} == {
            "origin": 403, "site": 403, "name": 421, "host": 200,
        }  # fmt: skip
        assert json.loads(refused["host"][1])["success"] is False
        set_host = urllib.request.Request(
            url + "/user", json.dumps({"user_class_name": "OpensCards", "host": "http://192.0.2.1"}).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        assert json.load(urllib.request.urlopen(set_host, timeout=20))["success"] is False
        read = urllib.request.Request(url + "/stats/requests", headers={"Origin": "http://evil.example"})
        with urllib.request.urlopen(read, timeout=20) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] is None
        assert json.loads(_get(url + "/live/data"))["state"] == "ready"

        def swarm(**more: str) -> None:
            form = {"user_count": "1", "spawn_rate": "1", "arrival_rate": "60", "run_time": "60", **more}
            started = urllib.request.urlopen(url + "/swarm", urllib.parse.urlencode(form).encode(), timeout=20)
            assert json.load(started)["success"]

        def stop() -> None:
            stopped = urllib.request.urlopen(urllib.request.Request(url + "/stop", method="POST"), timeout=40)
            assert json.load(stopped)["success"]

        swarm(user_classes="OpenArrivals", shape_class="Constant")

        def filled() -> Any:
            live = json.loads(_get(url + "/live/data"))
            answered = [row for row in live["times"] if row["requests"]]
            whole = [row for row in live["service"] if _is_whole(row)]
            return (live, whole[-1]) if len(answered) >= 4 and len(whole) >= 3 else None

        live, last = _until(filled)
        assert live["state"] == "running"
        for row in live["times"]:  # of a second in which a busy machine answered nothing there are no times
            assert row["p99"] >= row["p50"] > 0 if row["requests"] else row["p50"] is row["p99"] is None
        # what was to be sent in a second, of which a busy machine may not have answered all
        assert 0 < sum(row["requests"] for row in live["times"]) / len(live["times"]) < 60 * 1.4
        assert 0 <= last["hit_rate"] <= 1
        assert last["near_share"] <= last["hit_rate"]
        assert last["statements_per_s"] >= 0
        assert last["redis_memory_bytes"] > 100_000
        assert "card" in last["by_kind"]
        shown.wait_for_function(
            "[...document.querySelectorAll('.annotation-text')].every(one => one.textContent !== 'begins with a run')"
        )
        stop()
        shown.wait_for_function("document.getElementById('state').textContent.includes('ended')")
        assert re.search(r"ended: [1-9][0-9,]* answered, 0 of them wrong", shown.inner_text("#state"))
        shown.close()
        # a second run begins anew, a search for a capacity too, which wants arrivals
        swarm(user_classes="OpenArrivals", shape_class="Capacity")
        assert _until(filled)[0]["state"] == "running"
        stop()
        swarm(user_classes="PortfolioUser", shape_class="Capacity")
        _until(lambda: json.loads(_get(url + "/live/data"))["state"] in ("stopped", "ready"))
        swarm(user_classes="OpenArrivals", shape_class="Constant")
        _until(filled)
    finally:
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=120)
    assert recorded(environment) == []
    # what ran last is kept as every load is: the shape that was picked, the rate that was typed
    assert process.returncode == 0, errors
    assert "constant workload" in said or "open workload, constant" in said
    (line,) = re.findall(r"report: (\S+)/07_load\.html", said)
    kept = json.loads((Path(line) if Path(line).is_absolute() else ROOT / line).joinpath("loads.json").read_text())
    assert (kept["request"]["shape"], kept["arms"][0]["arm"]) == ("constant", "near")
    assert kept["arms"][0]["requests"] > 0


def test_a_web_ui_in_which_nothing_ran_leaves_no_run(environment: dict[str, str]) -> None:
    port = free_port()
    process = subprocess.Popen(
        [str(ROOT / "lab"), "load", "--ui", "--cards", "1000", "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        _until(lambda: _get(f"http://127.0.0.1:{port}/"), 120)
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "report:" not in said
    assert recorded(environment) == []


def _is_whole(row: dict[str, Any]) -> bool:
    """Whether the service answered each question of that second, within its time."""
    return all(row.get(name) is not None for name in ("hit_rate", "statements_per_s", "redis_memory_bytes"))


def _post(url: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body of a form that is sent."""
    request = urllib.request.Request(url, urllib.parse.urlencode(form).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


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
        _until(lambda: _get(f"http://127.0.0.1:{port}/"))
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
