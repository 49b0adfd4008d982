"""What a command, a service's watcher or a notebook's run does not use is not loaded when it starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

# the parts of a card service, and libraries that take a tenth of a second or more
_OF_A_SERVICE = ("archzero_lab.systems.arczero.api.app", "litestar")
_OF_STATISTICS = ("scipy.stats", "pandas")


@pytest.mark.parametrize(
    ("started", "left_out"),
    [
        ("archzero_lab.commands.stack, archzero_lab.bootstrap.supervisor", (*_OF_A_SERVICE, *_OF_STATISTICS)),
        ("archzero_lab.servers.keeper", (*_OF_A_SERVICE, *_OF_STATISTICS, "psycopg", "redis")),
        ("archzero_lab.systems.arczero.serve", (*_OF_STATISTICS, "numpy")),
        ("archzero_lab.systems.arczero.consistency.open_cards", (*_OF_A_SERVICE, *_OF_STATISTICS, "numpy")),
        ("archzero_lab.reporting.execute", (*_OF_A_SERVICE, "rfc3987_syntax")),
        ("archzero_lab.jupyter.run", (*_OF_A_SERVICE, "scipy.stats")),
    ],
    ids=[
        "a command and the supervisor",
        "the keeper",
        "a service",
        "a harness's process",
        "a notebook's run",
        "a run in a notebook",
    ],
)
def test_a_start_loads_nothing_that_it_does_not_use(started: str, left_out: tuple[str, ...]) -> None:
    code = f"import sys, {started}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in left_out if name in done.stdout.split()] == []
