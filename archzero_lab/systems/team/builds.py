"""Builds of a team's repository: a revision in a work tree of its own, installed once and kept by its commit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from archzero_lab.errors import LabError
from archzero_lab.settings import STATE
from archzero_lab.systems.team.project_file import Project
from archzero_lab.systems.team.shell import run_command

HERE = "."
_INSTALLED = "installed"


@dataclass(frozen=True)
class Build:
    """A build's `tree`, the folder in it that holds archzero.toml; the `commit`, "" of a folder outside of git.

    `changed` says that the tree has changes that no commit holds.
    """

    revision: str
    tree: Path
    commit: str
    changed: bool = False

    @property
    def in_words(self) -> str:
        """As it is told."""
        shown = self.commit[:10] or "no commit"
        return f"{self.revision} ({shown}{', with uncommitted changes' if self.changed else ''})"


def find_build(project: Project, revision: str) -> Build:
    """A build ready to be started: "." is the tree as it lies here, anything else a revision of the repository.

    Raises LabError where there is no repository or no such revision, or where its `install` fails.
    """
    if revision == HERE:
        commit = _git(project.folder, "rev-parse", "HEAD")
        changed = bool(commit and _git(project.folder, "status", "--porcelain", "--untracked-files=no"))
        return Build(revision, project.folder, commit or "", changed)
    top = _git(project.folder, "rev-parse", "--show-toplevel")
    if top is None:
        raise LabError(f"{project.folder} is in no git repository, so there is no build '{revision}'")
    commit = _git(project.folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        raise LabError(
            f"no build '{revision}' in {top}: no revision of that name; in CI fetch the whole history, or that branch"
        )
    place = STATE / "builds" / commit[:16]
    tree = place / "tree"
    if not (place / _INSTALLED).exists():
        _make(project, Path(top), commit, place)
    return Build(revision, tree / project.folder.resolve().relative_to(Path(top).resolve()), commit)


@contextmanager
def hint_at_install(project: Project, revision: str) -> Iterator[None]:
    """An error of what a build runs says, of the tree as it lies here, that the lab installs nothing in it."""
    try:
        yield
    except LabError as error:
        install = project.service.install
        if revision != HERE or not install:
            raise
        raise type(error)(
            f'{error}; where it is not installed: build "." is the tree as it lies here, and the lab installs nothing '
            f"there: run its [service] install yourself: {install}"
        ) from None


def _make(project: Project, top: Path, commit: str, place: Path) -> None:
    """A work tree, installed; a half-made one of an earlier attempt goes first."""
    place.mkdir(parents=True, exist_ok=True)
    tree = place / "tree"
    _git(top, "worktree", "remove", "--force", str(tree))
    _git(top, "worktree", "prune")
    made = subprocess.run(
        ["git", "-C", str(top), "worktree", "add", "--quiet", "--force", "--detach", str(tree), commit],
        capture_output=True, text=True,
    )  # fmt: skip
    if made.returncode != 0:
        reason = (made.stderr.strip().splitlines() or ["no reason told"])[-1]
        raise LabError(f"no tree of build {commit[:10]} could be made: {reason}")
    folder = tree / project.folder.resolve().relative_to(top.resolve())
    if not folder.is_dir():
        raise LabError(f"build {commit[:10]} has no folder {folder.relative_to(tree)}: it is older than that folder")
    if project.service.install:
        run_command(project.service.install, folder, {}, f"install of build {commit[:10]}")
    (place / _INSTALLED).touch()


def _git(folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
