"""Help at 80 columns: every command once and whole, no name of a Python type, examples that fit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from archzero_lab.cli import app
from archzero_lab.commands.help import EXAMPLES, GROUPS

ROOT = Path(__file__).parents[2]
COMMAND = typer.main.get_command(app)
NAMES = sorted(COMMAND.commands)  # type: ignore[attr-defined]


def _help(*words: str) -> list[str]:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"}, prog_name="./lab")
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_every_command_stands_in_a_group_once_and_whole() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == NAMES
    lines = _help()
    assert [name for name in NAMES if sum(line.startswith(f"  {name} ") for line in lines) != 1] == []
    assert not any("..." in line for line in lines if not line.startswith("Usage:"))


@pytest.mark.parametrize("words", [(), *((name,) for name in NAMES), ("migrate", "lint")], ids=" ".join)
def test_help_fits_80_columns_and_names_no_type_of_pythons(words: tuple[str, ...]) -> None:
    lines = _help(*words)
    assert [line for line in lines if len(line) > 80] == []
    assert not any(kind in line for line in lines for kind in ("<str>", "<int", "<float", "<list", "<path", "<file"))


def test_examples_are_of_commands_that_there_are_and_of_options_that_they_have() -> None:
    for name, examples in EXAMPLES.items():
        text = "\n".join(_help(name))
        for example in examples:
            words = example.split()
            assert words[0] == name
            assert [word for word in words if word.startswith("--") and f"{word} " not in text] == []


def test_what_migrate_can_do_is_all_there() -> None:
    text = "\n".join(_help("migrate"))
    assert [name for name in ("up", "down", "status", "lint") if f"\n  {name} " not in text] == []


@pytest.mark.parametrize(("words", "completed"), [("./lab repl", "replicas"), ("./lab report --prof", "--profile")])
def test_bash_completes_commands_and_options(words: str, completed: str) -> None:
    asked = [str(ROOT / "lab"), "--completion", "bash"]
    script = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    ask = f'COMP_WORDS=({words}); COMP_CWORD={words.count(" ")}; _lab_completion "$0"; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script + ask, str(ROOT / "lab")], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [completed]
