"""What a report was asked for, and the run that it becomes: a new one, or one that was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from archzero_lab.errors import LabError
from archzero_lab.run_folders.environment import git
from archzero_lab.run_folders.finding import unfinished_run
from archzero_lab.run_folders.run import Run
from archzero_lab.systems.profiles import choose_profile
from archzero_lab.systems.system import Rows, System


@dataclass(frozen=True)
class ReportRequest:
    """What a person asked `lab report` for. `files` are a user's rows, by what they hold.

    Without `notebooks` they are not run now: `lab show RUN` can, later.
    """

    profile: str = "standard"
    size: int | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    seed: int = 1
    until_decided_min: float = 0.0
    resume: str = ""
    notebooks: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For the run's folder, so that it can go on later."""
        return asdict(self) | {"files": {name: str(path.resolve()) for name, path in self.files.items()}}

    def rows(self, size: int) -> Rows:
        """The rows that are loaded."""
        return Rows(size, self.seed, self.files)


def begin(system: System, request: ReportRequest) -> tuple[Run, ReportRequest]:
    """A new run, or the interrupted one that the request names, with what that was asked for.

    Raises LabError where its code was another: stages of two builds are no one run.
    """
    commit = git("rev-parse", "HEAD")
    if not request.resume:
        run = Run.new(choose_profile(system.profiles, request.profile, request.size).name)
        run.mark("request", request.as_dict())
        run.mark("commit", commit)
        return run, request
    run = unfinished_run(request.resume)
    if run.done.get("commit") != commit:
        raise LabError(
            f"run {run.path.name} was begun at commit {run.done.get('commit')}, this is {commit}: check that one out "
            "to go on, or measure anew"
        )
    kept = run.done["request"]
    files = {name: Path(path) for name, path in kept["files"].items()}
    made = ReportRequest(**kept | {"files": files, "only": tuple(kept["only"])})
    return run, replace(made, resume=request.resume)
