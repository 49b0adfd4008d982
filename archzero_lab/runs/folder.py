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

from archzero_lab.errors import LabError
from archzero_lab.settings import REPORTS

PROGRESS = "progress.json"
"""There while a run is not whole: what it was asked for and what of it is done."""


@dataclass
class RunFolder:
    """One run: its id, its folder, how long each stage took, and what of it is done, for a run that goes on later."""

    id: str
    path: Path
    stages: list[dict[str, Any]] = field(default_factory=list)
    done: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; one that fails is not listed, one that goes on takes what it took before as well."""
        began = time.monotonic()
        yield
        seconds = round(time.monotonic() - began, 2)
        before = next((stage for stage in self.stages if stage["name"] == name), None)
        if before is None:
            self.stages.append({"name": name, "seconds": seconds})
        else:
            before["seconds"] = round(before["seconds"] + seconds, 2)
        self.mark("stages", self.stages)

    def mark(self, name: str, value: Any) -> None:
        """Keep that something is done, with what it came to: all or nothing of it is in the file."""
        self.done[name] = value
        partial = self.path / f".{PROGRESS}.part"
        partial.write_text(json.dumps(self.done, indent=1, default=str) + "\n")
        partial.replace(self.path / PROGRESS)

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file of the run."""
        path = self.path / name
        path.write_text(json.dumps(value, indent=2, default=str) + "\n")
        return path

    def publish(self, name: str = "latest") -> None:
        """Point reports/`name` here, in one step, so that it never points nowhere; the run is whole."""
        (self.path / PROGRESS).unlink(missing_ok=True)
        link = REPORTS / name
        partial = REPORTS / f".{name}-{os.getpid()}"
        partial.unlink(missing_ok=True)
        partial.symlink_to(self.path.name)
        partial.replace(link)


def unfinished_run(name: str) -> RunFolder:
    """The run of that id (or folder) that was interrupted. Raises LabError where there is none or it is whole."""
    path = Path(name) if "/" in name else REPORTS / name
    if not (path / PROGRESS).exists():
        unfinished = sorted(found.parent.name for found in REPORTS.glob(f"*/{PROGRESS}"))
        raise LabError(f"no interrupted run '{name}'; there are: {', '.join(unfinished) or 'none'}")
    done = json.loads((path / PROGRESS).read_text())
    return RunFolder(path.resolve().name, path.resolve(), done.get("stages", []), done)


def new_run(profile: str) -> RunFolder:
    """A new folder, named by time and profile."""
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{profile}-{secrets.token_hex(2)}"
    path = REPORTS / run_id
    path.mkdir(parents=True)
    return RunFolder(run_id, path)
