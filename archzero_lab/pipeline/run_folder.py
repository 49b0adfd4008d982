"""A run's folder: reports/<run id>/ with everything it measured, and reports/latest pointing at the newest."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archzero_lab.settings import REPORTS


@dataclass
class RunFolder:
    """One run: its id, its folder, and how long each stage took."""

    id: str
    path: Path
    stages: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; one that fails is not listed."""
        began = time.monotonic()
        yield
        self.stages.append({"name": name, "seconds": round(time.monotonic() - began, 2)})

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file of the run."""
        path = self.path / name
        path.write_text(json.dumps(value, indent=2, default=str) + "\n")
        return path

    def publish(self) -> None:
        """Point reports/latest here, in one step, so that it never points nowhere."""
        link = REPORTS / "latest"
        partial = REPORTS / f".latest-{os.getpid()}"
        partial.unlink(missing_ok=True)
        partial.symlink_to(self.path.name)
        partial.replace(link)


def new_run(profile: str) -> RunFolder:
    """A new folder, named by time and profile."""
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{profile}-{secrets.token_hex(2)}"
    path = REPORTS / run_id
    path.mkdir(parents=True)
    return RunFolder(run_id, path)
