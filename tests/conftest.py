"""Servers for the whole suite: started once, in a state folder of the tests' own, stopped at the end."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# a machine that stops for a quarter of a second is no fault of an example
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")

# whoever started the suite may ignore it (nohup, a script's &), and every process below would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

# before archzero_lab is imported: the suite never touches what `./lab up` keeps in this checkout
_SCRATCH = Path(tempfile.mkdtemp(prefix="archzero-lab-tests-"))
os.environ["ARCHZERO_STATE"] = str(_SCRATCH / "state")
os.environ["ARCHZERO_REPORTS"] = str(_SCRATCH / "reports")
# experiments of one machine wait for each other; those of the suite's processes need not
os.environ["ARCHZERO_TURNS"] = str(_SCRATCH / "turns")

from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.reporting import notebook_format  # noqa: F401  # before others import nbformat: see there
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.stack import Stack, running_stack
from archzero_lab.settings import STATE, load_settings
from archzero_lab.systems.arczero.cards.generator import GeneratedPortfolio
from archzero_lab.systems.arczero.portfolios import Loaded, alone_with_base, ensure_base

CARDS = 2_000
LONGEST_FIRST = (
    "sweep_and_self_check", "own_service", "reports", "consistency", "what_stays", "endurance",
    "notebooks_that_measure", "redis_cluster", "own_pool_mix_and_notebooks", "load", "commands", "failover",
    "stopped_reports", "degradation", "load_command", "redis_sentinel", "notebooks_on_the_stack",
    "postgres_that_returns", "gate", "work_gate", "checks", "jupyterlab", "failover_harness", "package", "web_ui",
)  # fmt: skip
"""Files that take half a minute and more. Those that wait stand among those that work, and none is left for the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; a file's tests keep their order."""
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Real PostgreSQL and Redis: embedded, or the machine's own under ARCHZERO_SERVERS=system."""
    with running_stack(load_settings()) as running:
        yield running
    home = server_home(STATE)
    shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(_SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session")
def base(stack: Stack) -> Loaded:
    """A loaded portfolio that tests copy and never change."""
    return _base(stack)


def _base(stack: Stack) -> Loaded:
    """Made anew where a test of other rows has put those in its place."""
    with alone_with_base(stack):
        return ensure_base(stack, GeneratedPortfolio(7, CARDS), lambda share: None)


@pytest.fixture(scope="module")
def make_database(stack: Stack, base: Loaded) -> Iterator[Callable[[str], str]]:
    """A copy of the loaded portfolio under a name; dropped after the module. Returns its URL."""
    made = []

    def make(purpose: str, *, empty: bool = False) -> str:
        name = stack.database_name(f"test_{purpose}")
        made.append(name)
        return create_database(stack.postgres_url, name, template=None if empty else _base(stack).name)

    yield make
    for name in made:
        drop_database(stack.postgres_url, name)
