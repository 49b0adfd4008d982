"""A team's own service through ./lab in its repository: check, report, gate, and what goes wrong on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psycopg
import pytest
import yaml

from archzero_lab.servers.ports import free_port
from archzero_lab.settings import CHECKOUT
from archzero_lab.systems.http import call
from tests.end_to_end.shop_repository import ShopRepository


@pytest.fixture(autouse=True)
def branch_as_it_was(shop: ShopRepository) -> Iterator[None]:
    yield
    shop.restore()
    assert shop.left_running == []


@contextmanager
def running(shop: ShopRepository) -> Iterator[str]:
    """The shop as its team has it running: its URL."""
    port = free_port()
    environment = shop.environment | {"PORT": str(port), "REDIS_URL": "redis://127.0.0.1:1"}
    service = subprocess.Popen(["./run.sh"], cwd=shop.folder, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while call(url, "GET", "/healthz")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # polling until it listens
        yield url
    finally:
        service.terminate()
        service.wait(30)


def test_a_file_drafted_from_the_running_service_is_checked_as_it_stands(shop: ShopRepository, tmp_path: Path) -> None:
    with running(shop) as url:
        (shop.folder / "archzero.toml").rename(tmp_path / "kept.toml")
        done = shop.lab("init", f"{url}/schema/openapi.json", REDIS_URL="set")
    assert done.returncode == 0, done.stderr
    assert "4 requests from OpenAPI; those that write (1) are left as comments" in done.stdout
    assert "to fill in: values of q, which search asks for" in done.stdout
    checked = shop.lab("check", REDIS_URL="set")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("as it should") == 8
    again = shop.lab("init", "openapi.json")
    assert again.returncode == 2
    assert "archzero.toml is there already" in again.stderr


def test_a_report_says_of_each_claim_what_held_and_leaves_their_repository_and_database_alone(
    shop: ShopRepository,
) -> None:
    before = shop.git("status", "--porcelain")
    with psycopg.connect(shop.environment["DATABASE_URL"]) as connection:
        rows = connection.execute("SELECT count(*), max(id) FROM products").fetchone()
    done = shop.lab("report", "--profile", "smoke", "--only", "search", "--only", "detail")
    assert done.returncode == 0, done.stderr
    latest = shop.folder / "reports" / "latest"
    summary = json.loads((latest / "summary.json").read_text())
    claims = {claim["id"]: claim for claim in summary["claims"]}
    assert claims["search"]["verdict"] == "confirmed"
    # the branch does not cache it: whatever the times say, its mechanism did not move
    assert claims["detail"]["mechanism"]["moved"] is False
    assert claims["detail"]["verdict"] != "confirmed"
    told = claims["search"]["mechanism"]
    assert told["branch"]["cache_hits"] == told["branch"]["requests"]
    assert told["branch"]["statements_per_1000"] == 0 < told["main"]["statements_per_1000"]
    assert told["main"]["rows_per_1000"] > 0 == told["branch"]["rows_per_1000"]
    commit = shop.git("rev-parse", "HEAD").strip()
    assert summary["environment"]["git_commit"] == commit, "a run is of the code that it measures"
    history = pd.read_parquet(shop.folder / "reports" / "history.parquet")
    assert set(history.loc[history["run_id"] == summary["run_id"], "commit"]) == {commit}
    page = (latest / "index.html").read_text()
    assert "branch: . (" in page
    assert "counted beside the times" in page
    assert "databases copied from PostgreSQL" in page
    assert "cards" not in page
    assert shop.git("status", "--porcelain") == before
    with psycopg.connect(shop.environment["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*), max(id) FROM products").fetchone() == rows
    for path in (shop.folder / "reports").rglob("*"):
        assert path.is_dir() or b"shop-secret" not in path.read_bytes(), path.name
    judged = shop.lab("judge")
    assert judged.returncode == 0, judged.stderr
    assert "confirmed" in judged.stdout


def test_what_the_file_calls_untouched_is_timed_in_the_same_blocks_and_told(shop: ShopRepository) -> None:
    shop.edit("archzero.toml", 'ready = "/healthz"\n', 'ready = "/healthz"\nuntouched = "detail"\n')
    done = shop.lab("report", "--profile", "smoke", "--only", "search")
    assert done.returncode == 0, done.stderr
    latest = shop.folder / "reports" / "latest"
    summary = json.loads((latest / "summary.json").read_text())
    (control,) = summary["negative_controls"]
    (claim,) = summary["claims"]
    assert (control["what"], control["control"], control["treatment"]) == ("detail", "main", "branch")
    assert control["blocks"] == claim["measured"]["blocks"]
    assert control["ci_low"] <= control["ratio"] <= control["ci_high"]
    assert claim["verdict"] == ("inconclusive" if control["moved"] else "confirmed")
    assert "negative control" in (latest / "index.html").read_text()


def test_an_arm_that_answers_emptily_is_the_finding_and_no_improvement(shop: ShopRepository) -> None:
    shop.edit("app.py", "    found = {\n", '    return {"items": []}\n    found = {\n')
    done = shop.lab("report", "--profile", "smoke", "--only", "search")
    assert done.returncode == 0, done.stderr
    (claim,) = json.loads((shop.folder / "reports" / "latest" / "summary.json").read_text())["claims"]
    assert (claim["verdict"], claim["measured"]["samples"]) == ("refuted", 0)
    assert "main and branch differ: items: " in claim["note"]
    assert "against none" in claim["note"]
    checked = shop.lab("check")
    assert checked.returncode == 1
    assert "main and branch differ" in checked.stdout


def test_the_gate_names_its_commits_and_fails_what_is_slower_by_name(shop: ShopRepository) -> None:
    commit = shop.git("rev-parse", "main")[:10]
    shop.edit("app.py", 'raise NotFoundException(f"no', 'pass\n    __import__("time").sleep(0.03)\n    if not found:\n        raise NotFoundException(f"no')  # fmt: skip # noqa: E501
    slower = shop.lab("gate", "--build", "main", "--only", "detail")
    assert slower.returncode == 1, slower.stdout + slower.stderr
    assert f"shop: . ({commit}, with uncommitted changes) against main ({commit})" in slower.stdout
    assert "detail / p50" in slower.stdout
    assert "regression" in slower.stdout


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('start = "./run.sh"', 'start = "echo no such thing; exit 3"', "arm main ended before it was ready: no such"),
        (
            'ready = "/healthz"',
            'ready = "/nowhere"\nready_s = 3',
            "arm main was not ready within 3 s: GET http://127.0",
        ),
        ('ready = "/healthz"', 'prepare = "echo broken; exit 1"', "prepare of arm main failed (1): broken"),
        ('build = "main"', 'build = "mian"', "no build 'mian' in "),
        ("FROM products ORDER BY id LIMIT 200", "FROM products WHERE false", "values.word came to no value"),
        ("FROM products ORDER BY id LIMIT 200", "FROM prodcuts", 'relation "prodcuts" does not exist'),
        ('migration = "migration.sql"', 'migration = "none.sql"', "none.sql"),
    ],
)
def test_what_goes_wrong_is_a_line_and_nothing_is_left_running(
    shop: ShopRepository, old: str, new: str, told: str
) -> None:
    shop.edit("archzero.toml", old, new)
    done = shop.lab("check")
    assert done.returncode == 2, done.stdout
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert shop.left_running == []


def test_where_no_file_names_a_service_the_gate_measures_nothing(shop: ShopRepository, tmp_path: Path) -> None:
    (shop.folder / "archzero.toml").rename(tmp_path / "kept.toml")
    done = shop.lab("gate", "--build", "main")
    assert done.returncode == 2
    assert "no archzero.toml here or above says how this repository's service is built: ./lab init" in done.stderr
    assert shop.lab("check").returncode == 2


def test_the_steps_of_the_examples_workflows_run_as_they_are_written(shop: ShopRepository, tmp_path: Path) -> None:
    workflow = yaml.safe_load((shop.folder / ".github" / "workflows" / "performance.yml").read_text())["jobs"]["gate"]
    steps = {step["name"]: step["run"] for step in workflow["steps"] if "run" in step}
    gitlab = yaml.safe_load((shop.folder / ".gitlab-ci.yml").read_text())["performance"]["script"]
    assert gitlab == [steps["seed"], steps["check"], steps["gate"]]
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "lab").symlink_to(CHECKOUT / "lab")
    environment = shop.environment | {"BASE": "main", "PATH": f"{bin_folder}:{shop.environment['PATH']}"}
    for name in ("check", "gate"):  # seeded it is already
        done = subprocess.run(
            ["sh", "-c", steps[name]], cwd=shop.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "search / p50" in (shop.folder / "performance.md").read_text()
    assert (shop.folder / "performance.xml").read_bytes().count(b"<testcase") == 3


def test_a_load_goes_to_the_arm_that_is_named_and_its_secrets_stay_out_of_the_run(shop: ShopRepository) -> None:
    done = shop.lab("load", "--arm", "main", "--users", "3", "--duration", "4", "--warm-up", "1", "--json", "load.json")
    assert done.returncode in (0, 3), done.stderr  # 3: the generator was late, of a busy machine
    told = json.loads((shop.folder / "load.json").read_text())
    assert told["arm"] == "main"
    assert told["failures"] == 0
    assert told["achieved_rate_per_s"] > 0
    folder = (shop.folder / "reports" / "latest-load").resolve()
    assert {"search", "list", "detail"} <= set(json.loads((folder / "catalog.json").read_text())["team"])
    for path in folder.iterdir():
        assert b"shop-secret" not in path.read_bytes(), path.name
    (shop.folder / "load.json").unlink()
    refused = shop.lab("load", "--host", "http://127.0.0.1:1")
    assert refused.returncode == 2
    assert "name it as the url of an arm in archzero.toml" in refused.stderr


_IN_A_NOTEBOOK = """
import json, archzero_lab as lab
shop = lab.project()
found = shop.experiment("main", "branch", "search", blocks=12, requests=10)
told = found.mechanism.to_dict("index")
folder = found.save("searching")
more = shop.experiment("main", "branch", "search", blocks=12, requests=10, metric="throughput")
print(json.dumps([shop.arms, found.verdict, told, folder.name, [more.verdict, more.effect_size > 1]]))
"""


def test_two_arms_of_the_file_are_compared_from_python_and_kept_as_a_run(shop: ShopRepository) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_NOTEBOOK], cwd=shop.folder, env=shop.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    arms, verdict, told, name, more = json.loads(done.stdout.splitlines()[-1])
    assert (arms, verdict) == (["main", "branch"], "improved")
    assert more == ["improved", True], "a faster search is more of them a second"
    assert (told["control"]["arm"], told["treatment"]["cache_hits"]) == ("main", told["treatment"]["requests"])
    compared = shop.lab("compare", name, name)
    assert "searching / treatment / p50" in compared.stdout, compared.stderr


_RUNS_ALREADY = """
[service]
headers = {{ Authorization = "Bearer $SHOP_TOKEN" }}
[arms.one]
url = "{url}"
database = "$DATABASE_URL"
[arms.other]
url = "{url}"
[arms.elsewhere]
url = "https://shop.example"
[requests.detail]
path = "/products/7"
[requests.add]
method = "POST"
path = "/products"
json = {{ name = "x", category = "c1", price_cents = 1 }}
status = 201
"""


def test_arms_that_run_already_are_read_and_never_written_to(shop: ShopRepository) -> None:
    with psycopg.connect(shop.environment["DATABASE_URL"]) as connection, running(shop) as url:
        rows = connection.execute("SELECT count(*) FROM products").fetchone()
        text = _RUNS_ALREADY.format(url=url)
        (shop.folder / "archzero.toml").write_text(text)
        refused = shop.lab("load", "--arm", "elsewhere")
        assert refused.returncode == 2
        assert "shop.example is not this machine" in refused.stderr
        head, _, tail = text.partition("[arms.elsewhere]")
        (shop.folder / "archzero.toml").write_text(head + "[requests" + tail.partition("[requests")[2])
        checked = shop.lab("check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "add writes and was not sent to one, other, which may_write does not allow" in checked.stdout
        assert "one: no pg_stat_statements; blocks are those of pg_stat_database" in checked.stdout
        assert "other: no database to count in" in checked.stdout
        assert connection.execute("SELECT count(*) FROM products").fetchone() == rows
