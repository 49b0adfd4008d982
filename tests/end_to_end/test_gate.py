"""The gate over builds that really run: the same code twice, and one with a fifth added to a query."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from archzero_lab.settings import ROOT

SMALL = ("--only", "filtered_queries", "--cards", "3000")
STATEMENT = "            row = await self._database.row(sql, params, prepare=False)\n"
SLOWER = f"""            began = time.perf_counter()
{STATEMENT}            until = time.perf_counter() + 3 * (time.perf_counter() - began)
            while time.perf_counter() < until:
                pass
"""
"""Four times as long: what a busy machine adds to one of two arms that take turns is far from it."""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the file: its servers' cluster is made once."""
    return tmp_path_factory.mktemp("gate") / "state"


def gate(tmp_path: Path, state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "ARCHZERO_STATE": str(state),
        "ARCHZERO_REPORTS": str(tmp_path / "reports"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "COLUMNS": "200",
    }
    return subprocess.run(
        [str(ROOT / "lab"), "gate", *arguments], capture_output=True, text=True, env=environment, timeout=240
    )


@pytest.fixture
def slower_build(tmp_path: Path) -> Path:
    """This tree's code with three times its time added to the lists' and filters' statement."""
    tree = tmp_path / "slower"
    shutil.copytree(ROOT / "archzero_lab", tree / "archzero_lab", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "sql", tree / "sql")
    path = tree / "archzero_lab" / "systems" / "arczero" / "cards" / "service.py"
    text = path.read_text()
    assert text.count(STATEMENT) == 1
    path.write_text(text.replace(STATEMENT, SLOWER).replace("import uuid\n", "import time\nimport uuid\n", 1))
    return tree


def test_the_same_build_twice_is_no_regression(tmp_path: Path, state: Path) -> None:
    done = gate(tmp_path, state, "--build", str(ROOT), *SMALL, "--inconclusive", "pass")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"factor of ([\d.]+)", done.stdout)) == 2


def test_a_build_whose_query_takes_four_times_as_long_fails_and_is_named(
    tmp_path: Path, state: Path, slower_build: Path
) -> None:
    junit = tmp_path / "gate.xml"
    done = gate(
        tmp_path, state, "--build", str(ROOT), "--candidate", str(slower_build), *SMALL, "--junit", str(junit),
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"filtered_queries / control / p50 │ regression", done.stdout)
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("### Performance gate: regression")
    assert "✗ regression | filtered_queries / control / p50" in summary
    failed = ElementTree.parse(junit).findall(".//testcase/failure/..")  # noqa: S314  # our own
    assert "filtered_queries / control / p50" in {case.attrib["name"] for case in failed}


def test_what_cannot_be_run_is_said_in_a_line(tmp_path: Path, state: Path) -> None:
    done = gate(tmp_path, state, "--build", "no-such-revision", "--only", "filtered_queries")
    assert done.returncode == 2
    assert "neither a checkout's folder nor a git revision" in done.stderr
    done = gate(tmp_path, state, "nowhere")
    assert done.returncode == 2
    assert "no run 'nowhere'" in done.stderr
