"""What `lab gate --work` counts: this tree, or the candidate, whichever arm the file is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from archzero_lab.commands import work
from archzero_lab.errors import SettingsError
from archzero_lab.jobs.work.baseline import Tolerance, write_baseline
from archzero_lab.jobs.work.counted import Counted, CountedKind, CountedPass, CountedStatement


@pytest.mark.parametrize(
    ("team", "candidate", "counted_build"), [(True, "", "."), (True, "topic", "topic"), (False, "", "")]
)
def test_the_tree_is_judged_and_not_the_revision_of_the_files_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, team: bool, candidate: str, counted_build: str
) -> None:
    was = Counted("shop", "main", 0, 1, 20, 18, {}, {})
    write_baseline(tmp_path / "work.toml", was)
    builds: list[str] = []

    def count(request: Any, build: str, rows: int = 0) -> Counted:
        builds.append(build)
        return was

    monkeypatch.setattr(work, "_count", count)
    monkeypatch.setattr("archzero_lab.bootstrap.system.team_here", lambda: object() if team else None)
    assert work.gate_work(tmp_path / "work.toml", candidate, "").result == "pass"
    assert builds == [counted_build]


def test_growth_that_is_a_finding_is_told_and_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(request: Any, build: str, rows: int = 0) -> Counted:
        loop = CountedStatement("SELECT 1", rows // 100, 1, 4)
        kinds = {"list": CountedKind(1, CountedPass(statements={"aa": loop}))}
        return Counted("shop", "here", rows, 1, 1, 18, {"cards": rows}, kinds)

    monkeypatch.setattr(work, "_count", count)
    with pytest.raises(typer.Exit) as ended:
        work.work(growth="1000,2000,4000,8000", limit=1_000, cards=100, requests=4, seed=1)
    assert ended.value.exit_code == 1


def test_saving_over_a_file_keeps_its_tolerance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "work.toml"
    counted = Counted("shop", "main", 0, 1, 20, 18, {}, {})
    write_baseline(file, counted, Tolerance(blocks=0.02))
    monkeypatch.setattr(work, "_count", lambda *_: counted)
    work.work(save=file, arm="", only=None, requests=20, cards=100, growth="", limit=1, seed=1)
    assert "blocks = 0.02" in file.read_text()
    with pytest.raises(SettingsError, match="leave one of them out"):
        work.work(save=file, growth="100,200,300,400")
