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

pytestmark = pytest.mark.alone

STATEMENT = "            row = await self._database.row(sql, params, prepare=False)\n"
SLOWER = f"""            began = time.perf_counter()
{STATEMENT}            until = time.perf_counter() + 0.2 * (time.perf_counter() - began)
            while time.perf_counter() < until:
                pass
"""


def gate(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "ARCHZERO_STATE": str(tmp_path / "state"),
        "ARCHZERO_REPORTS": str(tmp_path / "reports"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    return subprocess.run(
        [str(ROOT / "lab"), "gate", *arguments], capture_output=True, text=True, env=environment, timeout=240
    )


@pytest.fixture
def slower_build(tmp_path: Path) -> Path:
    """This tree's code with a fifth added to the time of the lists' and filters' statement."""
    tree = tmp_path / "slower"
    shutil.copytree(ROOT / "archzero_lab", tree / "archzero_lab", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "sql", tree / "sql")
    path = tree / "archzero_lab" / "cards" / "service.py"
    text = path.read_text()
    assert text.count(STATEMENT) == 1
    path.write_text(text.replace(STATEMENT, SLOWER).replace("import uuid\n", "import time\nimport uuid\n", 1))
    return tree


def test_the_same_build_twice_is_no_regression(tmp_path: Path) -> None:
    done = gate(tmp_path, "--build", str(ROOT), "--only", "filtered_queries", "--inconclusive", "pass")
    assert done.returncode == 0, done.stdout + done.stderr
    factors = [float(text) for text in re.findall(r"factor of ([\d.]+)", done.stdout)]
    assert len(factors) == 2
    assert all(0.8 < factor < 1.25 for factor in factors)


def test_a_build_with_a_fifth_added_to_one_query_fails_and_is_named(tmp_path: Path, slower_build: Path) -> None:
    junit = tmp_path / "gate.xml"
    for _ in range(3):  # a busy machine may leave it undecided; passing it never may
        (tmp_path / "summary.md").unlink(missing_ok=True)
        done = gate(
            tmp_path, "--build", str(ROOT), "--candidate", str(slower_build), "--only", "filtered_queries",
            "--junit", str(junit),
        )  # fmt: skip
        assert done.returncode in (1, 3), done.stdout + done.stderr
        if "filtered_queries / control / p50 │ regression" in done.stdout:
            break
    assert done.returncode == 1, done.stdout
    assert re.search(r"filtered_queries / control / p50 │ regression", done.stdout)
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("### Performance gate: regression")
    assert "✗ regression | filtered_queries / control / p50" in summary
    failed = ElementTree.parse(junit).findall(".//testcase/failure/..")  # noqa: S314  # our own
    assert "filtered_queries / control / p50" in {case.attrib["name"] for case in failed}


def test_what_cannot_be_run_is_said_in_a_line(tmp_path: Path) -> None:
    done = gate(tmp_path, "--build", "no-such-revision", "--only", "filtered_queries")
    assert done.returncode == 2
    assert "neither a checkout's folder nor a git revision" in done.stderr
    done = gate(tmp_path, "nowhere")
    assert done.returncode == 2
    assert "no run 'nowhere'" in done.stderr
