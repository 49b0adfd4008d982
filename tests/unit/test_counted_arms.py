"""Both arms counted for a report: what cannot be counted costs no report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import LabError
from archzero_lab.jobs.report import counted_arms
from archzero_lab.progress import QUIET
from archzero_lab.reporting.scorecard import index_page
from archzero_lab.run_folders.run import Run
from archzero_lab.settings import Settings
from archzero_lab.systems.arms import ArmKind
from archzero_lab.systems.work import Countable
from tests.unit.test_scorecard import _summary


def _fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def refused(settings: Settings) -> Iterator[Any]:
        raise error
        yield

    monkeypatch.setattr(counted_arms, "counting_stack", refused)


def _counted(folder: Path, size: int) -> Any:
    run = Run(folder)
    counted_arms.count_arms(system_here(), Settings(), run, size, 1, QUIET)
    return Run(folder).work


@pytest.mark.parametrize(
    "error", [LabError("no server"), psycopg.OperationalError("no server"), OSError("no server")], ids=type
)
def test_servers_that_cannot_be_had_are_told_and_cost_no_report(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_with(error, monkeypatch)
    assert _counted(tmp_path, 100) == {"reason": "no server"}


def test_a_password_in_what_went_wrong_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(psycopg.OperationalError("no answer of postgresql://lab:s3cret@db/x"), monkeypatch)
    assert _counted(tmp_path, 100) == {"reason": "no answer of postgresql://lab:***@db/x"}


def test_a_large_database_of_ones_own_is_not_copied_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Run(tmp_path).mark("stages", [{"name": "load", "seconds": 61.2}])
    _fail_with(AssertionError("servers were asked for"), monkeypatch)
    assert _counted(tmp_path, 0)["reason"].startswith("its databases took 61 s to copy")


def test_a_count_that_is_there_stays_when_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Run(tmp_path).work = {"rows": 5}
    _fail_with(AssertionError("servers were asked for"), monkeypatch)
    assert _counted(tmp_path, 100) == {"rows": 5}


def test_an_arm_without_a_copy_of_a_database_is_not_counted_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def servers(settings: Settings) -> Iterator[Any]:
        yield SimpleNamespace(stack=SimpleStack(Settings()))

    @contextmanager
    def prepared(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(urls={})

    monkeypatch.setattr(counted_arms, "counting_stack", servers)
    system = SimpleNamespace(
        compared=("running", "here"), arms={"running": ArmKind("", False, "running")}, prepare=prepared,
        countable=Countable({"list": False}),
    )  # fmt: skip
    run = Run(tmp_path)
    counted_arms.count_arms(system, Settings(), run, 0, 1, QUIET)  # type: ignore[arg-type]
    assert run.work["reason"].startswith("arm running has no copy of a database")
    page = index_page(_summary(), [], {}, work=run.work)
    assert "was not counted one by one: arm running has no copy" in page


@dataclass(frozen=True)
class SimpleStack:
    """What count_work asks of a stack before anything runs on it."""

    settings: Settings
