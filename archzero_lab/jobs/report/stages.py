"""The stages of a report in their order, and about what each takes of its time."""

from __future__ import annotations

from archzero_lab.run_folders.run import LATEST, Run
from archzero_lab.settings import REPORTS

SHARES = {
    "servers": 0.02, "load": 0.05, "migrate": 0.1, "arms": 0.03, "measure": 0.37, "decide": 0.0, "checks": 0.07,
    "locust": 0.12, "plans": 0.02, "work": 0.04, "notebooks": 0.16, "report": 0.02,
}  # fmt: skip


def expected_seconds(profile: str, promise_s: float) -> dict[str, float]:
    """About how long each stage takes: by the newest run of the profile, else by what the profile promises.

    Empty where nothing is known.
    """
    took = promise_s
    newest = REPORTS / LATEST
    if (newest / "summary.json").exists():
        summary = Run(newest).summary
        if summary.get("profile") == profile:
            took = sum(stage["seconds"] for stage in summary["stages"]) or took
    return {name: share * took for name, share in SHARES.items()} if took else {}
