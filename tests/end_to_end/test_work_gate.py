"""lab work and gate --work in a team's repository: the same code passes, more work is named, a reason accepts it."""

from __future__ import annotations

import json
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import pytest

from archzero_lab.jobs.work.baseline import read_baseline
from tests.end_to_end.shop_repository import ShopRepository

ADD = "    cache.set("


@pytest.fixture(scope="module", autouse=True)
def counted(shop: ShopRepository) -> None:
    """The branch as it is, in work.toml."""
    done = shop.lab("work", "--save", "work.toml")
    assert done.returncode == 0, done.stderr


@pytest.fixture(autouse=True)
def restored(shop: ShopRepository) -> Iterator[None]:
    """What a test edits is of that test alone."""
    yield
    shop.restore()


def test_a_count_is_a_small_file_that_says_what_each_request_does(shop: ShopRepository) -> None:
    text = (shop.folder / "work.toml").read_text()
    assert len(text) < 10_000
    assert tomllib.loads(text)["of"]["tables"] == {"products": 20_000, "reviews": 40_000}
    kinds = read_baseline(shop.folder / "work.toml").counted.kinds
    search, again = kinds["search"].first, kinds["search"].again
    assert search.redis["GET"].calls == search.redis["SET"].calls == 20
    assert again is not None
    assert list(again.redis) == ["GET"]
    assert again.redis["GET"].answered == pytest.approx(20 * 700, rel=0.9)
    assert kinds["add"].first.wal["Heap/INSERT"] == 1
    assert 'redis.GET = "20x 20 keys ' in text
    assert "shop-secret" not in text


def test_more_work_exits_1_and_is_named_in_every_form_until_a_reason_accepts_it(shop: ShopRepository) -> None:
    shop.edit("app.py", ADD, '    cache.expire("shop:searches", 60)\n' + ADD)
    shop.edit("migration.sql", "products_category_created", "products_created_category")
    shop.edit("migration.sql", "(category, created_at DESC, id DESC)", "(created_at)")
    forms = ["--junit", "work.xml", "--markdown", "work.md", "--gitlab", "work.json"]
    done = shop.lab("gate", "--work", "work.toml", *forms, GITHUB_ACTIONS="true")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "search: Redis EXPIRE" in done.stdout
    assert "0 → 1 calls a request" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("::error file=work.toml,line=")]
    assert any("title=search%3A Redis EXPIRE::0 → 1 calls a request" in line for line in lines)
    failed = ElementTree.parse(shop.folder / "work.xml").getroot().findall(".//failure")  # noqa: S314  # our own
    assert len(failed) == len(lines) >= 2
    assert "✗ regression | search: Redis EXPIRE" in (shop.folder / "work.md").read_text()
    told = json.loads((shop.folder / "work.json").read_text())
    assert {one["severity"] for one in told} <= {"major", "minor"}
    assert any(one["description"].startswith("search: Redis EXPIRE: 0 → 1") for one in told)
    where = next(one["location"] for one in told if "Redis EXPIRE" in one["description"])
    line = (shop.folder / "work.toml").read_text().splitlines()[where["lines"]["begin"] - 1]
    assert (where["path"], line) == ("work.toml", "[request.search]")

    accepted = shop.lab("gate", "--work", "work.toml", "--accept", "searches are counted now")
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert tomllib.loads((shop.folder / "work.toml").read_text())["of"]["reason"] == "searches are counted now"
    same = shop.lab("gate", "--work", "work.toml")
    assert same.returncode == 0, same.stdout + same.stderr
    assert same.stdout.count("as it was") == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gate", "--accept", "why"], "--accept is about a count: give --work FILE with it"),
        (["gate", "--work", "none.toml"], "lab work --save none.toml"),
        (["work", "--only", "serach"], "unknown kind of request 'serach'; known: search, list, detail, add"),
        (["work", "--arm", "mian"], "unknown arm 'mian'"),
    ],
)
def test_what_cannot_be_counted_is_refused_in_a_line(shop: ShopRepository, arguments: list[str], told: str) -> None:
    done = shop.lab(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_service_that_runs_already_is_not_counted(shop: ShopRepository) -> None:
    shop.edit("archzero.toml", '[arms.main]\nbuild = "main"', '[arms.main]\nurl = "http://127.0.0.1:1"')
    done = shop.lab("work", "--arm", "main")
    assert done.returncode == 2
    assert "not a service that runs already: archzero.toml needs [service] start and [database]" in done.stderr


def test_growth_is_told_by_kind_of_request_the_steepest_first_and_what_meets_the_limit_exits_1(
    shop: ShopRepository,
) -> None:
    growth = ["work", "--growth", "2000,3000,4500,7000", "--limit", "1000", "--requests", "4"]
    both = [*growth, "--only", "detail", "--only", "list"]
    done = shop.lab(*both)
    assert done.returncode == 0, done.stdout + done.stderr  # by their indexes both read the same at any size
    for cells in _laws(done.stdout, {"list", "detail"}).values():
        assert cells[4] in ("constant", "logarithmic")
        assert cells[7] == ""

    shop.edit("migration.sql", "(category, created_at DESC, id DESC)", "(created_at)")
    done = shop.lab(*both)
    assert done.returncode == 1, done.stdout + done.stderr
    laws = _laws(done.stdout, {"list", "detail"})
    assert list(laws) == ["list", "detail"]
    assert laws["list"][7].endswith(" rows")
    assert laws["detail"][4] in ("constant", "logarithmic")

    few = shop.lab("work", "--growth", "500,1000")
    assert few.returncode == 2
    assert "--growth 500,1000: give 4 sizes or more" in few.stderr


def _laws(printed: str, kinds: set[str]) -> dict[str, list[str]]:
    rows = [line.split("│") for line in printed.splitlines() if line.startswith("│")]
    told = {row[1].strip(): [cell.strip() for cell in row[2:]] for row in rows}
    assert set(told) == kinds
    return told
