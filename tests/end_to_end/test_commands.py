"""./lab as a person calls it: what it prints, its exit codes, what it leaves behind (nothing)."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from archzero_lab.settings import ROOT
from tests.end_to_end.command import lab, recorded
from tests.unit.test_claims_of_ones_own import OWN
from tests.unit.test_load_reports import write_capacity

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """State and reports of these tests' own; whatever runs at the end of them is a failure."""
    folder = tmp_path_factory.mktemp("lab")
    made = {**os.environ, "ARCHZERO_STATE": str(folder / "state"), "ARCHZERO_REPORTS": str(folder / "reports")}
    yield made
    lab(made, "down")


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


def test_help_lists_the_commands_in_well_under_a_second(environment: dict[str, str]) -> None:
    lab(environment, "--help")
    began = time.perf_counter()
    done = lab(environment, "--help")
    elapsed_s = time.perf_counter() - began
    assert done.returncode == 0
    for command in ("report", "test", "up", "down", "status", "serve", "migrate", "analyze", "notebook"):
        assert re.search(rf"\b{command}\b", done.stdout)
    bare = time.perf_counter()
    subprocess.run([str(ROOT / ".venv" / "bin" / "python"), "-c", "import typer"], capture_output=True)
    # against what the interpreter and typer cost on this machine now, for an absolute time says nothing here
    assert elapsed_s < 10 * (time.perf_counter() - bare)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["report", "--profile", "big"], "unknown profile 'big'; known: smoke, standard, full"),
        (["report", "--only", "speed"], "unknown claim 'speed'; known: card_list_cached"),
        (["report", "--cards", "1"], "greater than or equal to 100"),
        (["report", "--inventory", "/nowhere.jsonl"], "does not exist"),
        (["migrate", "up", "--database-url", "postgresql://u:s3cret@127.0.0.1:1/x"], "cannot connect"),
        (["analyze", "--database-url", "host=127.0.0.1 port=1 password=s3cret"], "password=***: Connection refused;"),
        (["analyze", "--database-url", "postgres//u:s3cret@127.0.0.1/x"], "that does not name a database; give it as"),
        (["migrate", "status", "--database-url", "host=h password=s3cret"], "that is no database's URL; give it as"),
        (["analyze"], "start one with ./lab up"),
        (["migrate", "lint", "--with-rows"], "name it with --database-url"),
        (
            [
                "indexes",
                "--database-url",
                "postgresql://u:s3cret@127.0.0.1:1/x",
                "--migration",
                str(ROOT / "sql" / "schema.sql"),
                "--from-pg-stat-statements",
                "5",
                "--plans-only",
                "--sample",
                "10",
            ],
            "give one of them",
        ),
        (["fly"], "No such command"),
    ],
)
def test_bad_arguments_are_told_in_a_line_with_exit_code_2(
    environment: dict[str, str], arguments: list[str], told: str
) -> None:
    done = lab(environment, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr + done.stdout
    assert recorded(environment) == []


def test_a_wrong_inventory_line_is_named_and_nothing_is_loaded(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "cards.jsonl"
    path.write_text('{"name": "a", "type": "Risk"}\n{"name": "b", "type": "Gadget"}\n')
    done = lab(environment, "report", "--inventory", str(path))
    assert done.returncode == 2
    assert done.stderr.strip().startswith("lab: cards.jsonl line 2: field type: Invalid enum value 'Gadget'")
    assert recorded(environment) == []


def test_up_status_down(environment: dict[str, str]) -> None:
    done = lab(environment, "up", "--cards", "500")
    assert done.returncode == 0, done.stderr
    status = json.loads(lab(environment, "status", "--json").stdout)
    assert set(status) == {"postgres", "redis", "service", "databases"}
    assert all(psutil.pid_exists(pid) for pid in (status["postgres"]["pid"], status["redis"]["pid"]))
    assert all(psutil.pid_exists(pid) for pid in status["service"]["pids"])
    assert {"base", "up_control", "up_treatment"} <= set(status["databases"])
    assert _get(status["service"]["url"] + "/api/v1/cards")["data"]
    assert "s3cret" not in lab(environment, "status").stdout
    assert "***" in lab(environment, "status").stdout
    again = lab(environment, "up", "--cards", "500")
    assert "already up" in again.stdout
    listed = lab(environment, "migrate", "status").stdout
    assert len(re.findall(r"^applied", listed, re.MULTILINE)) == 26
    tables = lab(environment, "analyze").stdout
    assert "Indexes by use" in tables
    assert "idx_cards_name_trgm" in tables
    down = lab(environment, "down")
    assert "postgres" in down.stdout
    assert not any(psutil.pid_exists(pid) for pid in (status["postgres"]["pid"], status["redis"]["pid"]))
    assert "nothing was running" in lab(environment, "down").stdout
    assert json.loads(lab(environment, "status", "--json").stdout)["postgres"]["url"] is None


def test_serve_prints_its_url_answers_and_leaves_nothing_after_ctrl_c(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [str(ROOT / "lab"), "serve", "--arm", "control", "--cache", "on", "--cards", "500", "--port", "0"],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    url = next(match.group() for line in process.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
    assert _get(url + "/api/v1/cards?pageSize=5")["page_size"] == 5
    assert _get(url + "/api/v1/cache/stats")["enabled"] is True
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (0, 130)
    assert recorded(environment) == []


def test_a_taken_port_is_told_and_nothing_is_left(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = lab(environment, "serve", "--cards", "500", "--port", str(port))
    assert done.returncode == 2
    assert f"port {port}: Address already in use; choose another --port" in done.stderr
    assert recorded(environment) == []


def test_a_killed_command_leaves_nothing_that_the_next_one_does_not_end(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [str(ROOT / "lab"), "serve", "--cards", "500", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert any("http://" in line for line in process.stdout)
    left = [
        json.loads(path.read_text())["pid"] for path in (Path(environment["ARCHZERO_STATE"]) / "run").glob("*.json")
    ]
    assert len(left) == 3
    process.kill()
    process.wait()
    assert lab(environment, "down").returncode == 0
    assert recorded(environment) == []
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in left)


def test_a_report_measures_writes_its_files_and_refuses_a_second_one_meanwhile(
    environment: dict[str, str], tmp_path: Path
) -> None:
    reports = Path(environment["ARCHZERO_REPORTS"])
    own = tmp_path / "claims.own.toml"
    claimed = OWN.replace('treatment = "treatment"', 'treatment = "cache"').replace('metric = "p95"', 'metric = "mean"')
    own.write_text(claimed)
    process = subprocess.Popen(
        [str(ROOT / "lab"), "report", "--profile", "smoke", "--cards", "1000", "--only", "card_detail_cached",
         "--only", "index_overhead", "--only", "open_risks"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**environment, "ARCHZERO_CLAIMS": str(own)},
    )  # fmt: skip
    while not list(reports.glob("*-smoke-*")):
        assert process.poll() is None
        time.sleep(0.02)
    second = lab(environment, "report", "--profile", "smoke")
    assert second.returncode == 2
    assert "is running in this checkout" in second.stderr
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert re.search(r"│ Card detail, cached +│.*│ \S (?:confirmed|refuted|inconclusive) +│", out), "a row is a line"
    latest = reports / "latest"
    summary = json.loads((latest / "summary.json").read_text())
    assert [claim["id"] for claim in summary["claims"]] == ["card_detail_cached", "index_overhead", "open_risks"]
    assert [stage["name"] for stage in summary["stages"]] == [
        "servers", "load", "migrate", "measure", "locust", "notebooks", "report",
    ]  # fmt: skip
    detail, overhead, risks = summary["claims"]
    assert risks["arms"] == {"control": "control", "treatment": "cache"}
    assert risks["mechanism"]["moved"]
    assert risks["measured"]["blocks"] == 12
    assert detail["measured"]["blocks"] == 12
    assert detail["measured"]["ci_low"] <= detail["measured"]["improvement"] <= detail["measured"]["ci_high"]
    asked, hits = (detail["mechanism"]["treatment"][name] for name in ("requests", "cache_hits"))
    assert 0.99 * asked <= hits <= asked  # where the machine stalls, a read does not wait for Redis
    assert overhead["measured"]["after"] > 0
    for name in ("index.html", "samples.parquet", "slots.parquet", "plans.json", "01_cached_reads.html",
                 "02_index_plans.html", "03_hit_rate_and_memory.html", "04_scorecard.html"):  # fmt: skip
        assert (latest / name).stat().st_size > 0
    for page in latest.glob("*.html"):
        outside = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//[^"')\s>]+""", page.read_text())
        assert outside == [], page.name
    assert recorded(environment) == []


QUICK: dict[str, dict[str, Any]] = {"05_staleness": {"reads": 2_000, "peers": False},
         "06_degradation": {"phase_s": 1.0},
         "09_own_experiment": {"blocks": 6},
         "10_indexes": {"cards": 2_000, "blocks": 2},
         "12_pool": {"sizes": [2, 15], "users": [4], "cards": 2_000, "seconds": 0.5, "rounds": 1}}  # fmt: skip
"""Notebooks that measure are given less to do; their other parameters, and all of the others', keep their defaults."""


def test_every_notebook_also_runs_by_hand(environment: dict[str, str], tmp_path: Path) -> None:
    """On the run of the test before, which holds some claims only; a load is measured, a capacity is there."""
    capacity = tmp_path / "capacity"
    write_capacity(capacity)
    quick = QUICK | {"08_capacity": {"load": str(capacity)}}
    assert (Path(environment["ARCHZERO_REPORTS"]) / "latest" / "summary.json").exists()
    code = (
        "import json, sys; from pathlib import Path\n"
        "from archzero_lab.reporting.notebooks import NOTEBOOKS, run_notebook\n"
        "quick = json.loads(sys.argv[2])\n"
        "for path in sorted(NOTEBOOKS.glob('*.ipynb')):\n"
        "    print(run_notebook(path, Path(sys.argv[1]), quick.get(path.stem, {})).title)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), json.dumps(quick)], capture_output=True, text=True, timeout=400,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    # their experiments wait for their verdicts where nobody watches a panel, and the stack that they started stays up
    own = (tmp_path / "09_own_experiment.html").read_text()
    assert len(re.findall(r"<strong>(?:improved|regressed|equivalent|inconclusive)</strong>", own)) == 3
    assert json.loads(lab(environment, "status", "--json").stdout)["service"]["url"]


def test_a_new_notebook_runs_as_it_stands_and_is_never_overwritten(environment: dict[str, str]) -> None:
    path = ROOT / "notebooks" / "own" / "made_by_a_test.ipynb"
    path.unlink(missing_ok=True)
    try:
        made = lab(environment, "new", "made_by_a_test")
        assert made.returncode == 0, made.stderr
        assert "./lab report --notebook made_by_a_test" in made.stdout
        ran = lab(environment, "report", "--notebook", "made_by_a_test")
        assert ran.returncode == 0, ran.stderr
        page = Path(environment["ARCHZERO_REPORTS"]).glob("*-notebook-*/made_by_a_test.html")
        assert "treatment / control" in next(page).read_text()
        again = lab(environment, "new", "made_by_a_test")
        assert (again.returncode, "there is a notebook made_by_a_test already" in again.stderr) == (2, True)
        wrong = lab(environment, "new", "../evil")
        assert (wrong.returncode, "cannot name a notebook" in wrong.stderr) == (2, True)
    finally:
        path.unlink(missing_ok=True)
        lab(environment, "down")


def test_a_new_claim_is_measured_by_its_notebook_and_listed_with_the_others(
    environment: dict[str, str], tmp_path: Path
) -> None:
    path = ROOT / "notebooks" / "own" / "claimed_by_a_test.ipynb"
    path.unlink(missing_ok=True)
    own = {**environment, "ARCHZERO_CLAIMS": str(tmp_path / "claims.own.toml")}
    try:
        made = lab(own, "new", "claimed_by_a_test", "--claim")
        assert made.returncode == 0, made.stderr
        ran = lab(own, "report", "--notebook", "claimed_by_a_test")
        assert ran.returncode == 0, ran.stderr
        page = next(Path(environment["ARCHZERO_REPORTS"]).glob("*-notebook-*/claimed_by_a_test.html")).read_text()
        assert re.search("Claimed by a test: (confirmed|refuted|inconclusive)", page)
        assert "<svg" in page
        path.unlink()
        again = lab(own, "new", "claimed_by_a_test", "--claim")
        assert (again.returncode, "there is a claim claimed_by_a_test already" in again.stderr) == (2, True)
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)
        lab(environment, "down")
