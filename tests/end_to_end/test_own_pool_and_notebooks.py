"""A team's own service: sizes of its connection pool, and notebooks of its arms and claims, through ./lab."""

from __future__ import annotations

import re
import shutil

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
    sizes = [re.findall(r"<td[^>]*>(.*?)</td>", row)[1:5] for row in rows if row.count("<td") > 4]
    assert [size for size, *_ in sizes] == ["1", "4"]
    assert all(float(rate.replace(",", "")) > 0 for _, rate, *_ in sizes)
    try:
        shop.edit("archzero.toml", 'pool_variable = "POOL_SIZE"\n', "")
        wrong = shop.lab("pool", *small)
    finally:
        shop.restore()
    assert (wrong.returncode, "pool_variable names no variable" in wrong.stderr) == (2, True), wrong.stderr


def test_notebooks_of_a_team_are_of_its_arms_and_claims_and_run_as_they_stand(shop: ShopRepository) -> None:
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
        searching, found = (
            next((shop.folder / "reports").glob(f"*-notebook-*/{name}.html")).read_text()
            for name in ("searching", "found")
        )
        assert "treatment / control" in searching
        assert "Found: confirmed" in found
        assert "cards" not in searching + found
        other = shop.lab("report", "--notebook", "staleness")
        assert (other.returncode, "known: found, searching" in other.stderr) == (2, True), other.stderr
    finally:
        shutil.rmtree(shop.folder / "notebooks", ignore_errors=True)
        (shop.folder / "claims.own.toml").unlink(missing_ok=True)
