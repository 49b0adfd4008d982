"""The stages of a report in their order, and about what each takes of its time."""

from __future__ import annotations

from archzero_lab.run_folders.run import LATEST, Run
from archzero_lab.settings import REPORTS

SHARES = {
    "servers": 0.01, "load": 0.04, "migrate": 0.06, "arms": 0.02, "measure": 0.36, "decide": 0.0, "checks": 0.06,
    "locust": 0.28, "plans": 0.02, "work": 0.06, "notebooks": 0.08, "report": 0.01,
}  # fmt: skip


def expected_seconds(
    profile: str, promise_s: float, *, until_decided_min: float = 0, notebooks: bool = True
) -> dict[str, float]:
    """About how long each stage takes: as in the newest whole run of the profile, else of what the profile promises.

    Empty where nothing is known.
    """
    expected = {name: share * promise_s for name, share in SHARES.items()}
    if profile == "smoke":
        expected["work"] = 0.0
    newest = REPORTS / LATEST
    if (newest / "summary.json").exists():
        summary = Run(newest).summary
        if summary.get("profile") == profile and not summary.get("asked", {}).get("only"):
            took = {stage["name"]: stage["seconds"] for stage in summary["stages"]}
            expected = {name: took.get(name, 0.0) for name in SHARES}
    if not any(expected.values()):
        return {}
    return expected | {"decide": 60 * until_decided_min} | ({} if notebooks else {"notebooks": 0.0})
