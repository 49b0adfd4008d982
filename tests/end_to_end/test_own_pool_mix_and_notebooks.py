"""A team's own service through ./lab: sizes of its pool, claims on its mix, notebooks of its arms and claims."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import httpx
import pandas as pd
from playwright.sync_api import Browser

from archzero_lab.servers.ports import free_port
from archzero_lab.settings import CHECKOUT
from tests.end_to_end.page_probe import faults_of
from tests.end_to_end.shop_repository import ShopRepository


def test_sizes_of_a_team_s_pool_are_tried_on_builds_that_differ_in_nothing_else(shop: ShopRepository) -> None:
    small = ("--size", "1", "--size", "4", "--users", "8", "--seconds", "1", "--rounds", "1")
    done = shop.lab("pool", "--arm", "main", *small)
    assert done.returncode == 0, done.stderr
    assert "with 8 users a pool of" in done.stdout
    page = next((shop.folder / "reports").glob("*-pool-*/pool.html")).read_text()
    assert "The pool of shop" in page
    assert "wait for a connection" not in page, "the shop does not tell its waits"
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    sizes = [re.findall(r"<td[^>]*>(.*?)</td>", row)[:4] for row in rows if row.count("<td") > 4]
    assert [size for size, *_ in sizes] == ["1", "4"]
    assert all(float(rate.replace(",", "")) > 0 for _, rate, *_ in sizes)
    try:
        shop.edit("archzero.toml", 'pool_variable = "POOL_SIZE"\n', "")
        wrong = shop.lab("pool", *small)
    finally:
        shop.restore()
    assert (wrong.returncode, "pool_variable names no variable" in wrong.stderr) == (2, True), wrong.stderr


MIX = """
[claims.mixed]
title = "All requests"
metric = "p95"
operations = "mix"
claimed = { before = 20, after = 5, improvement = 0.5 }
arms = { control = "main", treatment = "branch" }
mechanism = "hits"

[claims.hit_rate]
title = "Hit rate"
metric = "hit_rate"
rule = "at_least"
operations = "mix"
claimed = { before = 0.0, after = [0.01, 0.9] }
arms = { control = "main", treatment = "branch" }
mechanism = "hits"

[[gate.rules]]
"""


def test_claims_on_the_mix_of_a_team_s_requests_are_judged_by_its_own_counters(shop: ShopRepository) -> None:
    try:
        shop.edit("archzero.toml", "\n[[gate.rules]]\n", MIX)
        done = shop.lab("report", "--profile", "smoke", "--only", "mixed", "--only", "hit_rate")
        assert done.returncode == 0, done.stderr
    finally:
        shop.restore()
    latest = shop.folder / "reports" / "latest"
    claims = {claim["id"]: claim for claim in json.loads((latest / "summary.json").read_text())["claims"]}
    assert claims["hit_rate"]["verdict"] == "confirmed"
    assert claims["hit_rate"]["mechanism"]["hits"] > 0
    assert "reloads" not in claims["hit_rate"]["mechanism"], "the shop does not tell them"
    told = claims["mixed"]["mechanism"]
    assert told["branch"]["cache_hits"] > 0 == told["main"]["cache_hits"]
    assert claims["mixed"]["measured"]["samples"] > 100
    requests = pd.read_parquet(latest / "load.parquet")
    assert set(requests["name"]) == {"search", "list", "detail", "add"}
    assert requests["ok"].all()
    for path in (shop.folder / "reports").rglob("*"):
        assert path.is_dir() or b"shop-secret" not in path.read_bytes(), path.name


def test_jupyterlab_opens_in_the_team_s_repository_and_starts_nothing_else(shop: ShopRepository) -> None:
    port = free_port()
    started = subprocess.Popen(
        [str(CHECKOUT / "lab"), "notebook", "--no-browser", "--port", str(port)],
        cwd=shop.folder, env=shop.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stderr is not None
    try:
        told = next(found for line in started.stderr if (found := re.search(r"token=(\w+)", line)))
        listed = httpx.get(f"http://127.0.0.1:{port}/api/contents", params={"token": told[1]}, timeout=60).json()
        assert "archzero.toml" in {entry["name"] for entry in listed["content"]}
        assert shop.left_running == []
    finally:
        started.terminate()
        started.communicate(timeout=60)


def test_notebooks_of_a_team_are_of_its_arms_and_claims_and_run_as_they_stand(
    shop: ShopRepository, browser: Browser
) -> None:
    try:
        for arguments, path in ((("searching",), "notebooks/searching.ipynb"), (("found", "--claim"), "found.ipynb")):
            made = shop.lab("new", *arguments)
            assert made.returncode == 0, made.stderr
            assert path in made.stdout
        claim = (shop.folder / "claims.own.toml").read_text()
        assert 'operations = "search"' in claim
        assert 'arms = { control = "main", treatment = "branch" }' in claim
        ran = shop.lab("report", "--notebook", "searching", "--notebook", "notebooks/found.ipynb")
        assert ran.returncode == 0, ran.stderr
        pages = [next((shop.folder / "reports").glob(f"*-notebook-*/{name}.html")) for name in ("searching", "found")]
        shown = browser.new_page()
        assert [fault for path in pages for fault in faults_of(shown, path)] == []
        shown.close()
        searching, found = (path.read_text() for path in pages)
        assert "treatment / control" in searching
        assert "Found: confirmed" in found
        assert "cards" not in searching + found
        other = shop.lab("report", "--notebook", "staleness")
        assert (other.returncode, "known: found, searching" in other.stderr) == (2, True), other.stderr
    finally:
        shutil.rmtree(shop.folder / "notebooks", ignore_errors=True)
        (shop.folder / "claims.own.toml").unlink(missing_ok=True)
