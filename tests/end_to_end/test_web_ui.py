"""./lab load --ui: classes, shapes and a live page; what comes from elsewhere is refused; a report at the end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import termios
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from archzero_lab.servers.ports import free_port
from archzero_lab.settings import ROOT
from tests.end_to_end.command import lab, recorded
from tests.end_to_end.watching import get, until


def test_the_web_ui_has_classes_shapes_and_a_live_page_and_leaves_nothing(
    environment: dict[str, str], browser: Browser
) -> None:
    port = free_port()
    process = subprocess.Popen(
        [str(ROOT / "lab"), "load", "--ui", "--arm", "near", "--cards", "1000", "--warm-up", "1",
         "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        page = until(lambda: get(url + "/"), 120)
        for name in ("PortfolioUser", "Capacity", "Spike", "arrival_rate"):
            assert name in page
        assert "ImportsBatches" not in page, "what is ticked at first is the mix as it is"
        assert 'href="live"' in page
        assert "Plotly.react" in get(url + "/live")
        assert len(get(url + "/live/plotly.js")) > 1_000_000
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
        assert json.loads(get(url + "/live/data"))["state"] == "ready"

        def swarm(**more: str) -> None:
            form = {"user_count": "1", "spawn_rate": "1", "arrival_rate": "60", "run_time": "60", **more}
            started = urllib.request.urlopen(url + "/swarm", urllib.parse.urlencode(form).encode(), timeout=20)
            assert json.load(started)["success"]

        def stop() -> None:
            stopped = urllib.request.urlopen(urllib.request.Request(url + "/stop", method="POST"), timeout=40)
            assert json.load(stopped)["success"]

        swarm(user_classes="OpenArrivals", shape_class="Constant")

        def filled() -> Any:
            live = json.loads(get(url + "/live/data"))
            answered = [row for row in live["times"] if row["requests"]]
            whole = [row for row in live["service"] if _is_whole(row)]
            return (live, whole[-1]) if len(answered) >= 4 and len(whole) >= 3 else None

        live, last = until(filled)
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
        assert until(filled)[0]["state"] == "running"
        stop()
        swarm(user_classes="PortfolioUser", shape_class="Capacity")
        until(lambda: json.loads(get(url + "/live/data"))["state"] in ("stopped", "ready"))
        swarm(user_classes="OpenArrivals", shape_class="Constant")
        until(filled)
    finally:
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=120)
    assert recorded(environment) == []
    # what ran last is kept as every load is: the shape that was picked, the rate that was typed
    # 3: what the machine was too busy to send, and so is no valid load, is told and kept all the same
    assert process.returncode in (0, 3), errors + said[-1000:]
    assert "open workload, constant" in said, said[-1500:]
    (line,) = re.findall(r"report: (\S+)/07_load\.html", said)
    kept = json.loads((Path(line) if Path(line).is_absolute() else ROOT / line).joinpath("loads.json").read_text())
    assert (kept["request"]["shape"], kept["arms"][0]["arm"]) == ("constant", "near")
    assert kept["arms"][0]["requests"] > 0


def test_ctrl_c_at_a_terminal_ends_a_web_ui_in_which_nothing_ran_and_leaves_no_run(
    environment: dict[str, str],
) -> None:
    port, (ours, theirs) = free_port(), pty.openpty()
    process = subprocess.Popen(
        [str(ROOT / "lab"), "load", "--ui", "--cards", "1000", "--port", str(port)],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # the terminal's Ctrl-C goes to whoever it belongs to
    )  # fmt: skip
    os.close(theirs)
    said: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(ours, said))
    reader.start()
    try:
        until(lambda: get(f"http://127.0.0.1:{port}/"), 120)
    finally:
        os.write(ours, b"\x03")
        process.wait(60)
        reader.join(60)
        os.close(ours)
    text = b"".join(said).decode()
    assert process.returncode == 0, text
    assert "no report: no run lasted beyond its warm-up of 5 s" in text
    assert recorded(environment) == []


def test_a_port_that_somebody_has_is_told_before_anything_is_started(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = lab(environment, "load", "--ui", "--cards", "1000", "--port", str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"lab: port {port} of the web UI is taken: name another one with --port\n"


def _read_all(terminal: int, said: list[bytes]) -> None:
    """What is written to a terminal, until nobody has it any more."""
    with suppress(OSError):
        while data := os.read(terminal, 65_536):
            said.append(data)


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
