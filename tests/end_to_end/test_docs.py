"""The docs as a site: made by one command, every page in it, read from files without a network."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from archzero_lab.commands.docs import REFERENCE, SITE, build_site, reference
from archzero_lab.errors import LabError
from archzero_lab.settings import CHECKOUT
from tests.end_to_end.command import lab
from tests.end_to_end.page_probe import barriers

PAGES = sorted(path.stem for path in (CHECKOUT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def site(environment: dict[str, str]) -> Path:
    done = lab(environment, "docs", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    return CHECKOUT / SITE


def test_every_page_is_in_the_contents() -> None:
    nav = str(tomllib.loads((CHECKOUT / "zensical.toml").read_text())["project"]["nav"])
    assert [name for name in PAGES if f"'{name}.md'" not in nav] == []


def test_the_page_of_docstrings_has_every_public_name() -> None:
    import archzero_lab

    headings = {line.removeprefix("## ") for line in reference().splitlines() if line.startswith("## ")}
    assert headings == set(archzero_lab.__all__)
    assert (CHECKOUT / REFERENCE).read_text() == reference()


def test_pages_are_read_from_files_with_no_network_and_no_sideways_scroll(site: Path, browser: Browser) -> None:
    asked, errors = list[str](), list[str]()
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in PAGES:
        page.set_viewport_size({"width": 1400, "height": 900})
        page.goto((site / f"{name}.html").as_uri())
        assert page.locator("h1").first.inner_text()
        broken = page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)")
        assert broken == [], name
        assert barriers(page) == [], name  # what a page is made of, which is the same at each width
        for width in (1400, 400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
            hidden = page.locator(".md-search:visible, label[for=__search]:visible")
            assert hidden.count() == 0, "it would find nothing"
    page.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert errors == []


def test_a_link_that_leads_nowhere_ends_it(tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "zensical.toml", tmp_path)
    shutil.copytree(CHECKOUT / "docs", tmp_path / "docs")
    with (tmp_path / "docs" / "method.md").open("a") as page:
        page.write("\n[nowhere](nowhere.md)\n")
    with pytest.raises(LabError, match=r"nowhere\.md"):
        build_site(tmp_path)
