"""The shop of examples/ as a team has it: a git repository with a branch, a database, a shell to call ./lab from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg

from archzero_lab.settings import CHECKOUT

EXAMPLE = CHECKOUT / "examples" / "shop"


class ShopRepository:
    """A copy of the example with `main` committed and the branch's changes in its tree."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder / "shop"
        shutil.copytree(EXAMPLE, self.folder)
        self.environment = {
            **os.environ, "DATABASE_URL": database_url, "SHOP_TOKEN": "shop-secret", "PYTHON": sys.executable,
            "COLUMNS": "200", "GIT_CONFIG_GLOBAL": os.devnull,
        }  # fmt: skip
        for name in ("ARCHZERO_STATE", "ARCHZERO_REPORTS", "ARCHZERO_HOME"):
            self.environment.pop(name, None)
        with psycopg.connect(database_url) as connection:
            connection.execute((EXAMPLE / "seed.sql").read_bytes())
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("add", ".")
        self.git("-c", "user.name=team", "-c", "user.email=team@shop", "commit", "--quiet", "--message", "shop")
        self.git("apply", "branch.patch")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout

    def lab(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(CHECKOUT / "lab"), *arguments], cwd=self.folder, capture_output=True, text=True,
            env=self.environment | more, timeout=300,
        )  # fmt: skip

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def restore(self) -> None:
        """Put the branch back as it was."""
        for name in ("app.py", "archzero.toml"):
            self.git("checkout", "--quiet", "main", "--", name)
        (self.folder / "migration.sql").unlink(missing_ok=True)
        self.git("apply", "branch.patch")

    @property
    def left_running(self) -> list[str]:
        return [path.name for path in (self.folder / ".lab" / "run").glob("*.json")]
