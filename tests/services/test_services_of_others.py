"""Two services that nobody here wrote: Roundup, which wants a login, and Datasette, which streams from no database."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from archzero_lab.postgres.databases import database_url, drop_database
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.http import request
from tests.services.others_repository import OthersRepository

_SECRET = "hidden-at-the-tracker"
"""No encoding of a form, a page or a URL changes it."""


def _claims(team: OthersRepository) -> dict[str, dict[str, Any]]:
    summary = json.loads((team.folder / "reports" / "latest" / "summary.json").read_text())
    return {claim["id"]: claim for claim in summary["claims"]}


@contextmanager
def _asked(team: OthersRepository) -> Iterator[tuple[str, Path]]:
    """Datasette as its team has it running, asked a few things: its URL and its access log."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    log = team.folder.parent / "access.log"
    command = [".venv/bin/datasette", "serve", "--immutable", "shop.db", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as written:
        service = subprocess.Popen(command, cwd=team.folder, stdout=written, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    request(url, "GET", "/-/versions.json")
                    break
                except httpx.HTTPError:
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)  # polling until it listens
            for item in (1, 700, 7000):
                for path in (f"/shop/products.csv?_stream=on&category=c{item}", f"/shop/products/{item}.json"):
                    assert request(url, "GET", path).status_code == 200
            yield url, log
        finally:
            service.terminate()
            service.wait(30)


def test_roundup_is_logged_in_to_and_the_index_that_it_lacks_is_confirmed_and_missed(
    stack: Stack, tmp_path: Path
) -> None:
    name = stack.database_name("roundup")
    url = database_url(stack.postgres_url, name)
    team = OthersRepository("roundup", tmp_path, {"DATABASE_URL": url, "TRACKER_PASSWORD": _SECRET})
    try:
        team.run(".venv/bin/python", "tracker.py", "make")
        with psycopg.connect(url) as connection:
            connection.execute((team.example / "seed.sql").read_bytes())

        checked = team.lab("check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert checked.stdout.count("as it should") == 8
        refused = team.lab("check", TRACKER_PASSWORD="wrong-" + _SECRET)
        assert refused.returncode == 2
        assert "set no cookie" in refused.stderr

        done = team.lab("report", "--profile", "smoke", "--only", "assigned", "--only", "issue")
        assert done.returncode == 0, done.stderr
        claims = _claims(team)
        counted = claims["assigned"]["mechanism"]
        assert counted["moved"] is True
        assert counted["main"]["blocks_per_1000"] > 5 * counted["branch"]["blocks_per_1000"]
        assert claims["assigned"]["verdict"] != "refuted", "a busy machine may leave it undecided, and turns nothing"
        assert claims["issue"]["verdict"] != "confirmed"
        loaded = team.lab(
            "load", "--arm", "branch", "--rate", "4", "--duration", "5", "--warm-up", "1", "--json", "load.json"
        )
        assert loaded.returncode in (0, 3), loaded.stderr  # 3: the generator was in the way, on a machine that is busy
        of_branch = json.loads((team.folder / "load.json").read_text())
        assert of_branch["requests"] > 0 == of_branch["failures"], "each with the cookies of the login"
        (team.folder / "load.json").unlink()

        team.commit()
        saved = team.lab("work", "--save", "work.toml")
        assert saved.returncode == 0, saved.stderr
        same = team.lab("gate", "--work", "work.toml")
        assert same.returncode == 0, same.stdout + same.stderr
        team.without_its_index()
        lost = team.lab("gate", "--work", "work.toml")
        assert lost.returncode == 1, lost.stdout + lost.stderr
        assert "issue_assignedto became" in lost.stdout
        assert "issue  pass" in lost.stdout
        for answered in (checked, refused, done, loaded, saved, same, lost):
            assert _SECRET not in answered.stdout + answered.stderr
        for place in ("reports", ".lab/logs", ".lab/runs", "work.toml"):
            for path in [team.folder / place, *(team.folder / place).rglob("*")]:
                assert not path.is_file() or _SECRET.encode() not in path.read_bytes(), path
    finally:
        team.lab("down")
        drop_database(stack.postgres_url, name)


def test_datasette_s_streamed_answers_are_timed_without_a_database_and_a_lost_index_fails_the_gate(
    tmp_path: Path,
) -> None:
    team = OthersRepository("datasette", tmp_path, {})
    try:
        uninstalled = team.lab("check")
        assert uninstalled.returncode == 2
        assert "the lab installs nothing there: run its [service] install yourself" in uninstalled.stderr
        team.run(".venv/bin/python", "make_data.py")
        kept = (team.folder / "archzero.toml").read_text()
        (team.folder / "archzero.toml").unlink()
        with _asked(team) as (url, log):
            drafted = team.lab("init", str(log))
            assert "3 requests from an access log" in drafted.stdout, drafted.stderr
            team.replace("archzero.toml", "http://127.0.0.1:8000", url)
            alone = team.lab("check")
        assert alone.stdout.count("as it should") == 3, alone.stdout + alone.stderr
        (team.folder / "archzero.toml").write_text(kept)

        checked = team.lab("check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert 'main: no database to count in; mechanism = "none"' in checked.stdout

        done = team.lab("report", "--profile", "smoke")
        assert done.returncode == 0, done.stderr
        export = _claims(team)["export"]
        assert export["measured"]["after"] < export["measured"]["before"] / 1.5
        assert export["verdict"] != "refuted", "a busy machine may leave it undecided, and turns nothing"
        assert "by time alone" in (team.folder / "reports" / "latest" / "index.html").read_text()
        made = team.lab("new", "look")
        assert made.returncode == 0, made.stderr
        looked = team.lab("report", "--profile", "smoke", "--notebook", "look")
        assert looked.returncode == 0, looked.stderr
        found = team.lab("load", "--arm", "branch", "--shape", "capacity", "--rounds", "1", "--json", "capacity.json")
        assert found.returncode in (0, 3), found.stderr  # 3: the generator was in the way, on a machine that is busy
        assert json.loads((team.folder / "capacity.json").read_text())["capacity"] is not None
        assert "branch" in (team.folder / "reports" / "latest-load" / "08_capacity.html").read_text()
        (team.folder / "capacity.json").unlink()
        runs = sorted(path.name for path in (team.folder / "reports").glob("*-smoke-*"))
        sent = team.lab("send", runs[-1])
        assert sent.returncode == 0, sent.stderr
        (page,) = team.folder.glob("*.html")
        assert "Export of a category" in page.read_text()
        page.unlink()

        team.commit()
        team.without_its_index()
        team.run(".venv/bin/python", "make_data.py")
        lost = team.lab("gate", "--build", "main", "--only", "export")
        # 3: undecided, on a machine that is busy
        assert lost.returncode in (1, 3), lost.stdout + lost.stderr
        assert "export / p50" in lost.stdout
        assert ("regression" in lost.stdout) == (lost.returncode == 1)
    finally:
        team.lab("down")
