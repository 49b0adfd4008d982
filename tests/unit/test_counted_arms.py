"""Both arms counted for a report: what cannot be counted costs no report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import LabError
from archzero_lab.jobs.report import counted_arms
from archzero_lab.progress import QUIET
from archzero_lab.run_folders.run import Run
from archzero_lab.settings import Settings


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


def test_a_service_of_ones_own_is_not_copied_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(AssertionError("servers were asked for"), monkeypatch)
    assert _counted(tmp_path, 0) == {"reason": "of your own service, lab work counts"}


def test_a_count_that_is_there_stays_when_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Run(tmp_path).work = {"rows": 5}
    _fail_with(AssertionError("servers were asked for"), monkeypatch)
    assert _counted(tmp_path, 100) == {"rows": 5}
