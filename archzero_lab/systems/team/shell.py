"""A team's own commands: run in a build's tree, in the shell's environment without the lab's, their end told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from archzero_lab.errors import LabError
from archzero_lab.settings import IN_CHECKOUT

_LIMIT_S = 900.0
_LINES = 5


def team_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a team's command: this process's, without the folder of the lab's own Python, and `more`."""
    environment = dict(os.environ)
    if IN_CHECKOUT:  # ./lab puts its own first; what a team calls python is what the shell calls so
        own = str(Path(sys.executable).parent)
        kept = [folder for folder in environment.get("PATH", "").split(os.pathsep) if folder != own]
        environment["PATH"] = os.pathsep.join(kept)
    return environment | dict(more)


def shell_command(text: str) -> list[str]:
    """How a team's command is run: by the shell, as its authors type it."""
    return ["/bin/sh", "-c", text]


def run_command(text: str, folder: Path, more: Mapping[str, str], what: str) -> None:
    """Run a command to its end. Raises LabError with its last lines where it fails or takes over 15 minutes."""
    try:
        done = subprocess.run(
            shell_command(text), cwd=folder, env=team_environment(more), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=_LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LabError(f"{what} did not end within {_LIMIT_S / 60:.0f} minutes: {text}") from None
    if done.returncode != 0:
        last = [line.strip() for line in done.stdout.splitlines() if line.strip()][-_LINES:]
        raise LabError(f"{what} failed ({done.returncode}): {' | '.join(last) or text}")
