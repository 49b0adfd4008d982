"""What the lab's children get of the shell, and the page that says so."""

from __future__ import annotations

import re

from archzero_lab.postgres.shell_variables import NEEDED, STEERING
from archzero_lab.servers.child_environment import child_environment
from archzero_lab.settings import ROOT


def test_options_of_other_runs_of_the_same_programs_reach_no_child() -> None:
    given = {"LOCUST_RUN_TIME": "5", "UVICORN_WORKERS": "9", "PATH": "/bin", "MY_LOCUST_X": "1"}
    assert child_environment(given) == {"PATH": "/bin", "MY_LOCUST_X": "1"}


def test_the_page_names_variables_that_are_treated_so_and_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "environment.md").read_text()
    assert set(re.findall(r"`(PG[A-Z]+)`", page)) <= {*NEEDED, *STEERING}
    names = set(re.findall(r"\btest_\w+", page))
    assert names
    assert names <= {path.stem for path in (ROOT / "tests").glob("*/test_*.py")}
