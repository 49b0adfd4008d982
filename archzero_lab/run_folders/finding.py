"""Finding a run: by its id, its folder, a file in it, or what reports/latest points at; and the newest of a kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from archzero_lab.errors import LabError
from archzero_lab.run_folders.run import LATEST, LOADS, SUMMARY, Run
from archzero_lab.run_folders.sending import ARCHIVE, unpack
from archzero_lab.settings import COMMAND, REPORTS


def find_run(name: str = LATEST, *, holds: str = SUMMARY) -> Run:
    """The run of that name that holds a file, or of an archive of lab send. Raises LabError naming those there are."""
    if name.endswith(ARCHIVE):
        return Run(unpack(Path(name)).resolve())
    path = Path(name) if "/" in name or Path(name).is_file() else REPORTS / name
    path = path.parent if path.is_file() else path
    if not (path / holds).exists():
        known = [run.path.name for run in all_runs(holds)]
        none = f"there is none yet: {COMMAND} report, load or indexes makes one"
        advice = f"known: {', '.join(known)}" if known else none
        raise LabError(f"no run '{name}': {path / holds} cannot be read; {advice}")
    return Run(path.resolve())


def all_runs(holds: str = SUMMARY) -> list[Run]:
    """Every run that holds a file, the oldest first; what links point at counts once."""
    folders = (path.parent for path in sorted(REPORTS.glob(f"*/{holds}")))
    return [Run(path) for path in folders if not path.is_symlink()]


def unfinished_run(name: str) -> Run:
    """The run of that id (or folder) that was interrupted. Raises LabError where there is none or it is whole."""
    path = Path(name) if "/" in name else REPORTS / name
    if not path.is_dir() or not Run(path).unfinished:
        unfinished = sorted(run.path.name for run in map(Run, REPORTS.glob("*/")) if run.unfinished)
        raise LabError(f"no interrupted run '{name}'; there are: {', '.join(unfinished) or 'none'}")
    return Run(path.resolve())


def newest_load(*, capacity: bool, size: int | None = None, machine: str | None = None) -> Run | None:
    """The newest load, of a capacity or not; where given, of a number of rows and a machine."""
    for run in reversed(all_runs(LOADS)):
        load: dict[str, Any] = json.loads((run.path / LOADS).read_text())
        if (load["request"]["shape"] == "capacity") != capacity:
            continue
        held = load.get("size", load.get("cards"))  # "cards" before 0.2
        if size in (None, held) and machine in (None, load["machine"]):
            return run
    return None
