"""A state and reports folder of a file's own, for ./lab as a person calls it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.servers.stack import Stack
from tests.end_to_end.command import lab, recorded
from tests.end_to_end.shop_repository import ShopRepository

CHROMIUM = os.environ.get("ARCHZERO_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome") or ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium. Where ARCHZERO_BROWSER names one it has to be there."""
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def shop(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ShopRepository]:
    """The shop's repository, with a database of the file's own."""
    name = stack.database_name(request.module.__name__.rpartition(".")[2])
    made = ShopRepository(tmp_path_factory.mktemp("team"), create_database(stack.postgres_url, name))
    yield made
    if made.left_running:
        made.lab("down")
    drop_database(stack.postgres_url, name)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What ./lab is called with; whatever it keeps up is stopped at the end."""
    folder = tmp_path_factory.mktemp("lab")
    made = {**os.environ, "ARCHZERO_STATE": str(folder / "state"), "ARCHZERO_REPORTS": str(folder / "reports")}
    yield made
    if recorded(made):
        lab(made, "down")
