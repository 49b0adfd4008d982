"""What ./lab says where nothing is installed: its version and its help, of each command, and no set-up begins."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from archzero_lab.cli import app
from archzero_lab.commands.docs import HELP, help_pages
from archzero_lab.settings import CHECKOUT


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout as it is cloned, of what the script reads."""
    for name in ("lab", "pyproject.toml", "requirements.lock", str(HELP)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "Measures whether a cache and indexes really pay"),
        (["report", "--help"], "Usage: ./lab report"),
        (["gate", "--work", "work.toml", "-h"], "Usage: ./lab gate"),
        (["migrate", "up", "--help"], "Usage: ./lab migrate up"),
        (["compare", "RUN", "latest", "--help"], "Usage: ./lab compare"),
        (["--debug", "report", "--help"], "Usage: ./lab report"),
        (["--version"], "archzero-lab 0."),
    ],
)
def test_help_and_version_need_no_set_up(bare: Path, arguments: list[str], said: str) -> None:
    done = subprocess.run([str(bare / "lab"), *arguments], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout
    assert not (bare / ".venv").exists()


def test_the_help_that_is_shown_before_the_set_up_is_that_of_the_commands() -> None:
    assert (CHECKOUT / HELP).read_text(encoding="utf-8") == help_pages(typer.main.get_command(app))
