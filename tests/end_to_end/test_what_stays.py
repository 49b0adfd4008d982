"""What was acknowledged stays: over `down` and `up`, over a serve that ends or dies, until --fresh."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg

from archzero_lab.settings import CHECKOUT
from archzero_lab.systems.http import call
from tests.end_to_end.command import lab, recorded

_SERVERS = ("redis", "postgres")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.2)


def _add(url: str, name: str) -> str:
    status, card = call(url, "POST", "/api/v1/cards", {"name": name, "type": "Application"})
    assert status == 201
    return f"/api/v1/cards/{card['id']}"


def _service(environment: dict[str, str]) -> str:
    url: str = json.loads(lab(environment, "status", "--json").stdout)["service"]["url"]
    return url


@contextmanager
def _serving(environment: dict[str, str], *arguments: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """A serve's URL, the line that tells it, and its process; interrupted at the end if it still runs."""
    process = subprocess.Popen(
        [str(CHECKOUT / "lab"), "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    seen = []
    try:
        for line in process.stdout:
            seen.append(line)
            if match := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield match.group(), line, process
                break
        else:
            raise AssertionError("".join(seen))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(60)


def test_a_card_that_was_acknowledged_is_there_after_down_and_up_until_fresh(environment: dict[str, str]) -> None:
    assert lab(environment, "up", "--cards", "500").returncode == 0
    path = _add(_service(environment), "stays over a restart")
    assert lab(environment, "down").returncode == 0
    again = lab(environment, "up")
    assert "on 501 cards, as they were left" in again.stdout, again.stdout + again.stderr
    assert call(_service(environment), "GET", path)[0] == 200
    assert lab(environment, "down").returncode == 0
    other = lab(environment, "up", "--cards", "600")
    assert other.returncode == 2
    assert "with what was written to it: --fresh replaces that" in other.stderr
    assert recorded(environment) == []
    fresh = lab(environment, "up", "--cards", "600", "--fresh")
    assert fresh.returncode == 0, fresh.stderr
    assert call(_service(environment), "GET", path)[0] == 404
    assert lab(environment, "down").returncode == 0


def test_a_serve_that_ends_or_is_killed_leaves_its_cards_for_the_next_one(environment: dict[str, str]) -> None:
    with _serving(environment, "--cards", "500") as (url, _, _):
        path = _add(url, "stays over an end")
    with _serving(environment) as (url, told, process):
        assert "501 cards, as they were left" in told
        assert call(url, "GET", path)[0] == 200
        later = _add(url, "stays over a crash")
        process.kill()
        process.wait()
    with _serving(environment, "--arm", "v2") as (url, _, _):
        assert call(url, "GET", path)[0] == 404  # another database, and making it leaves the others alone
    with _serving(environment) as (url, _, _):
        assert [call(url, "GET", one)[0] for one in (path, later)] == [200, 200]
    with _serving(environment, "--cards", "500", "--fresh") as (url, _, _):
        assert call(url, "GET", path)[0] == 404


def test_two_serves_started_together_both_serve_and_one_goes_on_without_the_other(environment: dict[str, str]) -> None:
    with ThreadPoolExecutor(1) as beside, ExitStack() as second, ExitStack() as first:
        other = beside.submit(second.enter_context, _serving(environment, "--cards", "700", "--fresh"))
        url, _, _ = first.enter_context(_serving(environment, "--cards", "700", "--fresh"))
        elsewhere, _, _ = other.result()
        totals = [call(one, "GET", "/api/v1/cards?pageSize=1")[1]["total"] for one in (url, elsewhere)]
        assert totals[0] == totals[1] > 500  # without the archived
        first.close()
        _until(lambda: call(elsewhere, "GET", "/api/v1/health")[1].get("status") == "ok")
        _add(elsewhere, "written when the other had gone")
    assert recorded(environment) == []


def test_an_up_that_fails_beside_a_serve_leaves_nothing_up_when_that_has_ended(environment: dict[str, str]) -> None:
    assert lab(environment, "up", "--cards", "500", "--fresh").returncode == 0
    assert lab(environment, "down").returncode == 0
    with _serving(environment) as (url, _, _):
        failed = lab(environment, "up", "--cards", "600")
        assert (failed.returncode, "--fresh replaces that" in failed.stderr) == (2, True)
        _until(lambda: call(url, "GET", "/api/v1/health")[1].get("status") == "ok")
        assert "nothing is kept up" in lab(environment, "status").stdout
    assert recorded(environment) == []


def test_what_is_kept_up_and_gone_is_started_again_where_it_was_and_said(environment: dict[str, str]) -> None:
    assert lab(environment, "up", "--cards", "500", "--fresh").returncode == 0
    url = _service(environment)
    path = _add(url, "stays over a dead server")
    before = json.loads(lab(environment, "status", "--json").stdout)
    gone = {**{name: before[name]["pid"] for name in _SERVERS}, "the service": before["service"]["pids"][0]}
    for name, pid in gone.items():
        os.kill(pid, signal.SIGKILL)
        _until(lambda name=name: f"{name} was gone: started again" in lab(environment, "status").stdout)
        _until(lambda: call(url, "GET", "/api/v1/health")[1].get("status") == "ok")
        assert call(url, "GET", path)[0] == 200
    after = json.loads(lab(environment, "status", "--json").stdout)
    assert [after[name]["url"] for name in _SERVERS] == [before[name]["url"] for name in _SERVERS]
    assert after["service"]["url"] == before["service"]["url"]
    assert lab(environment, "down").returncode == 0
    assert recorded(environment) == []


def test_up_starts_again_what_nobody_watches_over(environment: dict[str, str]) -> None:
    assert lab(environment, "up", "--cards", "500", "--fresh").returncode == 0
    url = _service(environment)
    before = json.loads(lab(environment, "status", "--json").stdout)
    for name in _SERVERS:
        for record in recorded(environment):
            if record.startswith("supervisor."):
                with suppress(ProcessLookupError):  # those of before
                    os.kill(int(record.split(".")[1]), signal.SIGKILL)
        os.kill(before[name]["pid"], signal.SIGKILL)
        _until(lambda: "gone; ./lab up starts it again" in lab(environment, "status").stdout)
        again = lab(environment, "up")
        assert again.returncode == 0, again.stdout + again.stderr
        assert f"{name} was gone: started again" in again.stdout
        assert f"already up: {url}" in again.stdout
        _until(lambda: call(url, "GET", "/api/v1/health")[1].get("status") == "ok")
    after = json.loads(lab(environment, "status", "--json").stdout)
    assert after["service"]["pids"][0] == before["service"]["pids"][0]
    assert lab(environment, "down").returncode == 0
    assert recorded(environment) == []


def test_replicas_are_read_from_started_again_and_gone_with_the_rest(environment: dict[str, str]) -> None:
    up = lab(environment, "up", "--cards", "500", "--fresh", "--replicas", "1")
    assert up.returncode == 0, up.stderr
    url = _service(environment)

    def servers() -> dict[str, Any]:
        told = call(url, "GET", "/api/v1/health")[1].get("servers", [])
        return {server["role"]: server for server in told}

    _until(lambda: (servers().get("replica") or {}).get("lag_s") is not None)

    def pid() -> int:
        replicas = json.loads(lab(environment, "status", "--json").stdout)["replicas"]
        assert list(replicas) == ["replica1"]
        number: int = replicas["replica1"]["pid"]
        return number

    before = pid()
    os.kill(before, signal.SIGKILL)
    _until(lambda: pid() != before)  # its supervisor saw
    _until(lambda: (servers().get("replica") or {}).get("lag_s") is not None)
    other = lab(environment, "up", "--replicas", "2")
    assert (other.returncode, "it is up with 1 replicas" in other.stderr) == (2, True)
    assert lab(environment, "down").returncode == 0
    assert recorded(environment) == []
    assert lab(environment, "up").returncode == 0
    again = json.loads(lab(environment, "status", "--json").stdout)
    assert again["replicas"] == {}
    with psycopg.connect(again["postgres"]["url"]) as connection:
        assert connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
    assert lab(environment, "down").returncode == 0
