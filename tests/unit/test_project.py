"""Promises about the tree itself: the lock, the environment file, notebooks, migrations."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from archzero_lab.settings import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MIGRATIONS = sorted(path for path in (ROOT / "sql" / "migrations").glob("*.sql") if ".rollback" not in path.name)


def _locked() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ \\]+)", LOCK, re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def test_the_lock_satisfies_every_range_of_pyproject() -> None:
    locked = _locked()
    for text in [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["test"],
        *PROJECT["optional-dependencies"]["peers"],
    ]:
        requirement = Requirement(text)
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not in requirements.lock"
        assert all(requirement.specifier.contains(version) for version in versions), f"{text} against {versions}"


def test_every_locked_package_has_hashes_and_no_index_address() -> None:
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in LOCK
    assert "--index" not in LOCK
    assert "--find-links" not in LOCK


def test_conda_installs_the_same_lock() -> None:
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    assert "- --requirement requirements.lock" in lines
    packages = [line for line in lines if line.startswith("- ") and "requirement" not in line and "forge" not in line]
    assert [re.split(r"[>=<:]", package[2:])[0] for package in packages] == ["python", "pip", "pip"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_thin_and_stored_without_output(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.cells[0].source.startswith("# ")
    assert any("parameters" in cell.metadata.get("tags", []) for cell in code)
    for cell in code:
        assert cell.outputs == []
        assert cell.execution_count is None
        tree = ast.parse(cell.source)
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For) for node in ast.walk(tree))
        # SQL is what these two are about: a statement of the reader's own in its place
        if path.stem not in ("00_start", "09_own_experiment"):
            assert "SELECT" not in cell.source
        assert "sleep" not in cell.source


def test_both_index_sets_have_their_builds_one_concurrent_build_a_file_each_with_a_rollback() -> None:
    builds: Counter[str] = Counter()
    for path in MIGRATIONS:
        text = path.read_text()
        rollback = path.parent / f"{path.stem}.rollback.sql"
        assert rollback.exists(), path.name
        assert "lock_timeout" in text
        assert "lock_timeout" in rollback.read_text()
        builds[path.name[:3]] += text.count("CREATE INDEX CONCURRENTLY")
        assert text.count("CREATE INDEX") <= 1
    assert builds == {"001": 25, "002": 5}


def test_the_extension_comes_before_the_indexes_that_need_it() -> None:
    assert "CREATE EXTENSION IF NOT EXISTS pg_trgm" in MIGRATIONS[0].read_text()


def test_every_file_of_the_package_says_first_what_it_is() -> None:
    for path in (ROOT / "archzero_lab").rglob("*.py"):
        text = path.read_text()
        assert not text or text.startswith('"""'), path
