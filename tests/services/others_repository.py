"""Services from PyPI as a team has them: installed, with data, in a git repository whose branch adds an index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from archzero_lab.settings import CHECKOUT

_NOTHING = "SELECT 1;\n"


class OthersRepository:
    """A copy of an example: `main` is committed without what its index.sql adds, which lies in the tree."""

    def __init__(self, name: str, folder: Path, more: dict[str, str]) -> None:
        self.example = CHECKOUT / "examples" / name
        self.folder = folder / name
        shutil.copytree(self.example, self.folder)
        self.environment = {**os.environ, "COLUMNS": "200", "GIT_CONFIG_GLOBAL": os.devnull, **more}
        for variable in ("ARCHZERO_STATE", "ARCHZERO_REPORTS", "ARCHZERO_HOME"):
            self.environment.pop(variable, None)
        subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=self.folder, check=True)
        self.run(".venv/bin/pip", "install", "--quiet", "--requirement", "requirements.txt")
        self.run("git", "init", "--quiet", "--initial-branch", "main")
        self.without_its_index()
        self.commit()
        self.with_its_index()

    def run(self, *command: str) -> None:
        """Run a command of the team's in its repository."""
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def lab(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Call ./lab from the repository."""
        return subprocess.run(
            [str(CHECKOUT / "lab"), *arguments], cwd=self.folder, capture_output=True, text=True,
            env=self.environment | more, timeout=900,
        )  # fmt: skip

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a text in a file of the tree."""
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))

    def with_its_index(self) -> None:
        shutil.copy(self.example / "index.sql", self.folder)

    def without_its_index(self) -> None:
        (self.folder / "index.sql").write_text(_NOTHING)

    def commit(self) -> None:
        """Commit the tree as it lies here to main."""
        self.run("git", "add", ".")
        self.run("git", "-c", "user.name=team", "-c", "user.email=team@other", "commit", "--quiet", "--message", "x")
