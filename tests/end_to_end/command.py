"""./lab as the end-to-end tests call it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from archzero_lab.settings import ROOT


def lab(environment: dict[str, str], *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run ./lab, at 200 columns."""
    return subprocess.run(
        [str(ROOT / "lab"), *arguments], capture_output=True, text=True, env={**environment, "COLUMNS": "200"},
        timeout=timeout,
    )  # fmt: skip


def recorded(environment: dict[str, str]) -> list[str]:
    """What a state folder has down as running."""
    return [path.name for path in (Path(environment["ARCHZERO_STATE"]) / "run").glob("*.json")]
