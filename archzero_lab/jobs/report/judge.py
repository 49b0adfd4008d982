"""judge: a run's verdicts, from its folder alone. No server is asked, so it can be done again with other claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archzero_lab.errors import LabError
from archzero_lab.experiments.claim_result import adjust
from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.kinds import judge_claim
from archzero_lab.experiments.negative_control import hold_back, negative_controls
from archzero_lab.jobs.report.evidence import RunEvidence, read_claims_of
from archzero_lab.run_folders.run import HIT_COSTS, Run

_ASKED = ("size", "only", "until_decided_min", "files")
"""What of a request the command to repeat it needs besides."""


def judge(
    run: Run, claims: Sequence[Claim] = (), margins: Mapping[str, float] | None = None, *, resumed: bool = False
) -> dict[str, Any]:
    """Judge what a run measured and write its summary.

    `claims` are those of today where they differ from those it was measured for; of one that the run did not measure
    as it stands, the older one holds. `margins` are the machine's of today, else of then. Raises LabError for a run
    that keeps no facts.
    """
    if not run.judgeable:
        raise LabError(
            f"run {run.path.name} keeps only its verdicts, not its measurements (it was made before 0.2): it can be "
            "read and shown, not judged again"
        )
    facts = run.facts
    chosen = _measured(read_claims_of(run), {claim.id: claim for claim in claims})
    evidence = RunEvidence(run, facts["margins"] if margins is None else margins)
    results = adjust([judge_claim(claim, evidence) for claim in chosen])
    controls = negative_controls(results, run.controls)
    results = hold_back(results, controls)
    run.summary = {
        "run_id": run.path.name,
        "resumed": resumed or bool(run.holds("summary.json") and run.summary.get("resumed")),
        **{name: facts[name] for name in ("system", "title", "arms", "compared", "profile", "seed")},
        **facts["rows"],
        "notebooks": facts.get("notebooks", True),
        "parameters": facts["parameters"],
        "environment": facts["environment"],
        "client": facts["client"],
        "hit_costs": run.hit_costs if run.holds(HIT_COSTS) else {},
        "negative_controls": [control.as_dict() for control in controls],
        "asked": _asked(run),
        "claims": [result.as_dict() for result in results],
        "stages": run.stages or (run.summary["stages"] if run.holds("summary.json") else []),
    }
    summary: dict[str, Any] = run.summary
    return summary


def _asked(run: Run) -> dict[str, Any]:
    """Of what the run was asked for; a published one keeps it in its summary alone."""
    request = run.done.get("request") or (run.summary.get("asked", {}) if run.holds("summary.json") else {})
    return {name: value for name, value in request.items() if name in _ASKED}


def _measured(then: Sequence[Claim], now: Mapping[str, Claim]) -> list[Claim]:
    """Today's claims where the run's measurements fit them: the same arms under the same operations."""

    def fits(old: Claim, new: Claim) -> bool:
        return (old.arms, old.operations, old.paths) == (new.arms, new.operations, new.paths)

    return [now[old.id] if old.id in now and fits(old, now[old.id]) else old for old in then]
