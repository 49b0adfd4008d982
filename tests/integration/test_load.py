"""Loads by real Locust processes on a real service: what an open one sees and a closed one hides, workers, capacity."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from archzero_lab.jobs.load.loads import Target, run_loads
from archzero_lab.jobs.load.request import LoadRequest
from archzero_lab.postgres.connection import connect
from archzero_lab.run_folders.run import Run
from archzero_lab.servers.hurt import Relay
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import ROOT
from archzero_lab.systems.arczero.cards.catalog import read_catalog
from archzero_lab.systems.arczero.services import RunningService, Serving, start_service

pytestmark = pytest.mark.once

RUN_S, STALL_S = 12.0, 3.0


@pytest.fixture(scope="module")
def served(
    stack: Stack, make_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningService, Path, Path]]:
    """A service that writes an access log, the log, and a folder with its catalog."""
    folder = tmp_path_factory.mktemp("load")
    url = make_database("load")
    with connect(url) as connection:
        (folder / "catalog.json").write_text(json.dumps(read_catalog(connection, 1).as_dict()))
    log = folder / "access.log"
    service = start_service(stack, Serving("load-test", url, cached=True, record=log, patient=True))
    yield service, log, folder
    stack.registry.stop(service.record)


def _target(service: RunningService) -> Target:
    return Target("treatment", service.url, {"service": service.record.pid})


def _run(folder: Path, name: str) -> Run:
    made = folder / name
    made.mkdir()
    (made / "catalog.json").write_text((folder / "catalog.json").read_text())
    return Run(made)


def _stall_once(service: RunningService, log: Path, over: threading.Event) -> None:
    """Stop every process of the service in the middle of the run, for a quarter of it."""
    while "/api/v1/cards/" not in log.read_text():
        if over.wait(0.05):
            return
    over.wait(RUN_S / 3)
    os.killpg(service.record.pid, signal.SIGSTOP)
    over.wait(STALL_S)
    os.killpg(service.record.pid, signal.SIGCONT)


def test_an_open_load_shows_a_stall_that_a_closed_one_hides(served: tuple[RunningService, Path, Path]) -> None:
    service, log, folder = served
    found = {}
    for name, request in (
        ("open", LoadRequest(rate_per_s=50.0, arrivals="even", duration_s=RUN_S, warm_up_s=1)),
        ("closed", LoadRequest(users=10, think_time_s=0.1, duration_s=RUN_S, warm_up_s=1)),
    ):
        log.write_text("")
        over = threading.Event()
        stalls = threading.Thread(target=_stall_once, args=(service, log, over))
        stalls.start()
        try:
            found[name] = run_loads([_target(service)], request, _run(folder, name))["arms"][0]
        finally:
            over.set()
            stalls.join()
    opened, closed = found["open"], found["closed"]
    assert opened["failures"] == closed["failures"] == 0, (opened["failed_because"], closed["failed_because"])
    # a quarter of the arrivals fall into the stall, evenly: one in twenty waits for more than half of it, whatever else
    # the machine does; of the closed load only the ten who were waiting saw it
    assert opened["response_time_s"]["p95"] > STALL_S / 2
    assert closed["response_time_s"]["p95"] < STALL_S / 2
    assert closed["response_time_s"]["max"] > STALL_S / 2


COUNTED = ("/api/v1/cards", "/api/v1/search", "/api/v1/graph?", "/api/v1/relationships", "/api/v1/import")


def _seen_by_the_server(log: Path) -> int:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return sum(line["path"].startswith(COUNTED) and line["path"].partition("?")[2] != "pageSize=1" for line in lines)


def test_a_master_and_two_workers_count_what_the_server_counts(served: tuple[RunningService, Path, Path]) -> None:
    service, log, folder = served
    for workers in (1, 2):
        log.write_text("")
        request = LoadRequest(rate_per_s=120.0, duration_s=4, warm_up_s=0, workers=workers)
        made = run_loads([_target(service)], request, _run(folder, f"workers{workers}"))["arms"][0]
        assert made["failures"] == made["dropped"] == 0, made["failed_because"]
        assert made["requests"] == _seen_by_the_server(log)
        assert sum(action["requests"] for action in made["actions"].values()) == made["requests"]
        assert made["requests"] > 120 * 4 / 2


def _workers() -> list[psutil.Process]:
    """Processes of Locust that another Locust has forked."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            parent = process.parent()
            if "--result-file" in (process.info["cmdline"] or []) and "--result-file" in (
                parent.cmdline() if parent else []
            ):
                found.append(process)
    return found


def test_a_load_that_lost_a_worker_is_not_valid_and_says_so(served: tuple[RunningService, Path, Path]) -> None:
    service, log, folder = served
    log.write_text("")
    request = LoadRequest(rate_per_s=60.0, duration_s=12, warm_up_s=0, workers=2)
    found: list[dict[str, Any]] = []
    loading = threading.Thread(
        target=lambda: found.append(run_loads([_target(service)], request, _run(folder, "lost"))["arms"][0])
    )
    loading.start()
    while "/api/v1/cards/" not in log.read_text():
        assert loading.is_alive()
        time.sleep(0.05)
    mine = [one for one in _workers() if str(folder) in " ".join(one.cmdline())]
    mine[-1].kill()
    loading.join()
    assert not found[0]["valid"]
    assert any("lost" in reason for reason in found[0]["reasons"]), found[0]["reasons"]
    # what was to be sent, not what was
    assert found[0]["offered_rate_per_s"] == pytest.approx(60.0)
    assert found[0]["achieved_rate_per_s"] < 55


def test_plain_locust_without_a_class_sends_the_mix_and_one_that_sends_nothing_fails(
    served: tuple[RunningService, Path, Path], tmp_path: Path
) -> None:
    service, log, _ = served
    out = tmp_path / "result.json"

    def locust(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "locust", "-f", "load.py", "--headless", "--result-file", str(out), *arguments]
        return subprocess.run(command, cwd=ROOT / "loadtests", capture_output=True, text=True, timeout=120)

    log.write_text("")
    done = locust("--host", service.url, "-u", "8", "-r", "8", "-t", "4", "--exit-code-on-error", "0")
    told = json.loads(out.read_text())
    assert "no class was named: the load is PortfolioUser" in done.stdout
    assert (told["workload"], told["failures"]) == ("closed", 0)
    assert told["requests"] > 8
    assert (done.returncode == 0) == told["valid"], done.stdout + done.stderr
    nothing = locust("--host", "http://127.0.0.1:1", "OpenArrivals", "--arrival-rate", "20", "-t", "3")
    assert nothing.returncode != 0
    assert not json.loads(out.read_text())["valid"]


@pytest.fixture
def slow(stack: Stack, make_database: Callable[[str], str]) -> Iterator[RunningService]:
    """A service that can do five hundred reads a second at most on any machine: one connection, its database afar."""
    far = Relay(stack, make_database("load_slow"), "load")
    far.set(delay_ms=2)
    pool = replace(stack.settings.pool, min_size=1, max_size=1)
    narrow = replace(stack, settings=replace(stack.settings, pool=pool))
    service = start_service(narrow, Serving("load-slow", far.url, cached=False, patient=True))
    yield service
    stack.registry.stop(service.record)
    far.close()


def test_a_capacity_is_closed_in_on_and_its_trials_are_kept(
    slow: RunningService, served: tuple[RunningService, Path, Path]
) -> None:
    place = _run(served[2], "capacity")
    request = LoadRequest(shape="capacity", rate_per_s=200.0, target_p99_ms=250.0, rounds=0)
    found = run_loads([_target(slow)], request, place)["arms"][0]
    capacity = found["capacity"]
    assert capacity["ci_low"] is None
    assert "needs at least 6 rounds, had 1" in capacity["method"]  # rounds=0: the first search alone
    trials = place.load_trials
    last = trials[trials["round"] == 0]
    assert not last["held"].all()
    assert 0 < capacity["rate_per_s"] < 600
    assert last.loc[last["held"], "rate_per_s"].max() <= capacity["rate_per_s"] * 1.01
    assert last.loc[~last["held"], "rate_per_s"].min() >= capacity["rate_per_s"] * 0.99
    held = trials[trials["held"]]
    assert (held["slow_share"] <= 0.01).all()
