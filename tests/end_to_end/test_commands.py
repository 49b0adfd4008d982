"""./lab as a person calls it: what it prints, its exit codes, what it leaves behind (nothing)."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis

from archzero_lab.servers.ports import free_port
from archzero_lab.settings import ROOT
from tests.end_to_end.command import lab, recorded


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


def test_help_lists_the_commands_and_loads_nothing_that_takes_a_while(environment: dict[str, str]) -> None:
    done = lab(environment, "--help")
    assert done.returncode == 0
    for command in (
        "report",
        "test",
        "up",
        "down",
        "status",
        "serve",
        "migrate",
        "analyze",
        "notebook",
        "replicas",
        "fragility",
        "compare-servers",
        "verify-faults",
    ):
        assert re.search(rf"\b{command}\b", done.stdout)
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "archzero_lab", "--help"], capture_output=True, text=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in traced.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"pandas", "numpy", "psycopg", "redis", "litestar", "matplotlib", "papermill", "pglast"}


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
        (["compare-servers", "postgresql://u:s3cret@127.0.0.1:1/x"], "give --queries DIR or --from-pg-stat-statements"),
        (["compare-servers", "dbname=x", "--queries", str(ROOT)], "what is to be compared?"),
        (["compare-servers", "dbname=x", "--queries", str(ROOT), "--server-version", "18"], "--server-version twice"),
        (["compare-servers", "dbname=x", "--queries", str(ROOT), "--set", "work_mem"], "give it as NAME=VALUE"),
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
            "use one of the two",
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


def test_a_command_that_sets_the_environment_up_first_still_reads_and_tells(tmp_path: Path) -> None:
    """What is typed is for the lab, not for the installer; and an error after it is seen."""
    tree = tmp_path / "tree"
    tree.mkdir()
    shutil.copy(ROOT / "lab", tree / "lab")
    for name in ("requirements.lock", "pyproject.toml"):
        (tree / name).write_text("")
    python = tree / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # pip, the lab and the check of the version in one: reads all it is given when it is asked to install
    python.write_text(
        '#!/bin/sh\ncase "$*" in *install*) cat >/dev/null;; *archzero_lab*) read word; echo "got $word" >&2;; esac\n'
    )
    python.chmod(0o755)
    clean = {**os.environ, "PATH": "/usr/bin:/bin"}
    done = subprocess.run([str(tree / "lab")], input="typed\n", capture_output=True, text=True, env=clean, timeout=60)
    assert done.stderr.splitlines()[-1] == "got typed", done.stderr


def test_a_wrong_inventory_line_is_named_and_nothing_is_loaded(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "cards.jsonl"
    path.write_text('{"name": "a", "type": "Risk"}\n{"name": "b", "type": "Gadget"}\n')
    done = lab(environment, "report", "--inventory", str(path))
    assert done.returncode == 2
    assert done.stderr.strip().startswith("lab: cards.jsonl line 2: field type: Invalid enum value 'Gadget'")
    assert recorded(environment) == []


def _runs(pid: int) -> bool:
    """A process that has ended keeps its number until init looks."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


STEERED = {
    "PGSSLMODE": "require", "PGHOSTADDR": "10.255.0.1", "PGSERVICE": "nowhere", "PGREQUIREAUTH": "none",
    "PGOPTIONS": "-c default_transaction_read_only=on", "PGCLIENTENCODING": "SQL_ASCII", "PGCHANNELBINDING": "require",
}  # fmt: skip
"""A shell that is set up for a server of its own."""


def test_the_version_is_told_without_setting_anything_up(tmp_path: Path) -> None:
    for name in ("lab", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    told = subprocess.run([str(tmp_path / "lab"), "--version"], capture_output=True, text=True, check=True).stdout
    assert told.strip() == f"archzero-lab {importlib.metadata.version('archzero-lab')}"
    assert not (tmp_path / ".venv").exists()


def test_up_status_down(environment: dict[str, str]) -> None:
    environment = {**environment, **STEERED}
    port = free_port()
    done = lab(environment, "up", "--cards", "500", "--port", str(port))
    assert done.returncode == 0, done.stderr
    status = json.loads(lab(environment, "status", "--json").stdout)
    assert set(status) == {"postgres", "redis", "replicas", "prometheus", "service", "databases"}
    assert all(psutil.pid_exists(pid) for pid in (status["postgres"]["pid"], status["redis"]["pid"]))
    assert all(psutil.pid_exists(pid) for pid in status["service"]["pids"])
    assert {"base", "up_control", "up_treatment"} <= set(status["databases"])
    assert status["service"]["url"].endswith(f":{port}")
    assert _get(status["service"]["url"] + "/api/v1/cards")["data"]
    script = 'eval "$("$1" status --env)"; echo "$SERVICE_URL"; echo "$DATABASE_URL"; echo "$REDIS_URL"'
    told = subprocess.run(
        ["bash", "-c", script, "bash", str(ROOT / "lab")], capture_output=True, text=True, env=environment, check=True
    ).stdout.splitlines()
    assert told[0] == status["service"]["url"]
    with psycopg.connect(told[1]) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM cards").fetchone() == (True,)
    assert redis.Redis.from_url(told[2]).ping()
    assert "s3cret" not in lab(environment, "status").stdout
    assert "***" in lab(environment, "status").stdout
    again = lab(environment, "up", "--cards", "500")
    assert "already up" in again.stdout
    listed = lab(environment, "migrate", "status").stdout
    assert len(re.findall(r"^applied", listed, re.MULTILINE)) == 26
    tables = lab(environment, "analyze").stdout
    assert "Indexes by use" in tables
    mine = lab(environment, "analyze", "--database-url", status["postgres"]["url"] + "&hostaddr=127.0.0.1")
    assert "not used: PGHOSTADDR, PGOPTIONS, PGSERVICE, PGCLIENTENCODING of the shell" in mine.stderr
    assert "idx_cards_name_trgm" in tables
    down = lab(environment, "down")
    assert "postgres" in down.stdout
    assert not any(_runs(pid) for pid in (status["postgres"]["pid"], status["redis"]["pid"]))
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


def test_where_sigint_is_ignored_sigterm_ends_all_that_was_started(environment: dict[str, str]) -> None:
    """As nohup, or a script's &, starts it."""
    process = subprocess.Popen(
        [str(ROOT / "lab"), "serve", "--cards", "500", "--port", "0"],
        stdout=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert process.stdout is not None
    assert any("http://" in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, 130, 143)
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
    records = [json.loads(path.read_text()) for path in (Path(environment["ARCHZERO_STATE"]) / "run").glob("*.json")]
    assert sorted(record["name"] for record in records) == ["keeper", "postgres", "redis", "service-treatment"]
    left = [record["pid"] for record in records]
    process.kill()
    process.wait()
    assert lab(environment, "down").returncode == 0
    assert recorded(environment) == []
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in left)


def test_files_of_the_folder_that_it_is_called_in_shadow_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("redis", "psycopg", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('mine')\n")
    for words in (("status",), ("serve", "--cards", "300", "--port", "x")):
        done = subprocess.run(
            [str(ROOT / "lab"), *words], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        assert "mine" not in done.stdout + done.stderr
    assert done.returncode == 2


def test_an_interrupt_of_the_first_installation_is_told_as_one(tmp_path: Path) -> None:
    """With an installer that waits, in a copy of the script alone."""
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "lab", tmp_path / "lab")
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
    began = tmp_path / "began"
    fake = tmp_path / "bin" / "uv"
    fake.write_text(
        f'#!/bin/sh\nif [ "$1" = venv ]; then mkdir -p {tmp_path}/.venv/bin;'
        f" ln -sf {sys.executable} {tmp_path}/.venv/bin/python; exit 0; fi\ntouch {began}\nexec sleep 600\n"
    )
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    environment.pop("CONDA_PREFIX", None)
    process = subprocess.Popen(
        [str(tmp_path / "lab"), "status"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip
    while not began.exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("lab: interrupted; run it again, it goes on\n")
    assert not list(tmp_path.glob("tmp.*"))
