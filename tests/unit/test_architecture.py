"""The house as docs/architecture.md draws it: paths that are there, and no file too long to be one idea."""

from __future__ import annotations

import re

import pytest

from archzero_lab.settings import ROOT

PACKAGE = ROOT / "archzero_lab"
LONGEST = 300
PATHS = re.findall(r"`([a-z_0-9/.]+(?:\.py|\.toml|/))`", (ROOT / "docs" / "architecture.md").read_text())


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_a_path_of_the_architecture_page_is_there(path: str) -> None:
    places = (ROOT, PACKAGE, PACKAGE / "systems" / "arczero", PACKAGE / "experiments")
    assert path in ("claims.own.toml", "archzero.toml") or any((place / path).exists() for place in places)


def test_no_file_is_longer_than_one_idea() -> None:
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"),
             *(ROOT / "loadtests").rglob("*.py")]  # fmt: skip
    assert len(files) > 200
    assert {str(file.relative_to(ROOT)): lines for file in files
            if (lines := len(file.read_text().splitlines())) > LONGEST} == {}  # fmt: skip
