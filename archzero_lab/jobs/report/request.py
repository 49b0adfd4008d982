"""What a report was asked for, and the run that it becomes: a new one, or one that was interrupted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from archzero_lab.errors import LabError
from archzero_lab.runs.environment import git
from archzero_lab.runs.folder import RunFolder, new_run, unfinished_run
from archzero_lab.systems.spec import choose_profile


@dataclass(frozen=True)
class ReportRequest:
    """What a person asked `./lab report` for."""

    profile: str = "standard"
    cards: int | None = None
    inventory: Path | None = None
    relationships: Path | None = None
    only: tuple[str, ...] = ()
    seed: int = 1
    until_decided_min: float = 0.0
    resume: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For the run's folder, so that it can go on later."""
        return asdict(self) | {
            name: str(value.resolve()) if value else None
            for name, value in (("inventory", self.inventory), ("relationships", self.relationships))
        }


def begin(request: ReportRequest) -> tuple[RunFolder, ReportRequest]:
    """A new run, or the interrupted one that the request names, with what that was asked for.

    Raises LabError where its code was another: stages of two builds are no one run.
    """
    commit = git("rev-parse", "HEAD")
    if not request.resume:
        run = new_run(choose_profile(request.profile, request.cards).name)
        run.mark("request", request.as_dict())
        run.mark("commit", commit)
        return run, request
    run = unfinished_run(request.resume)
    if run.done["commit"] != commit:
        raise LabError(
            f"run {run.id} was begun at commit {run.done['commit']}, this is {commit}: check that one out to go on, or "
            "measure anew"
        )
    asked = run.done["request"]
    paths = {name: Path(asked[name]) if asked[name] else None for name in ("inventory", "relationships")}
    return run, replace(ReportRequest(**asked | paths), only=tuple(asked["only"]), resume=request.resume)
