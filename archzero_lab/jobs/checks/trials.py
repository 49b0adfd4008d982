"""The checks of a report: each tried on the system, its trials kept as soon as they are made."""

from __future__ import annotations

from collections.abc import Sequence

from archzero_lab.experiments.claims import Claim
from archzero_lab.run_folders.run import Run
from archzero_lab.systems.arms import Arm
from archzero_lab.systems.system import Prepared


def try_checks(run: Run, claims: Sequence[Claim], prepared: Prepared, arm: Arm) -> None:
    """Try what is not tried yet."""
    for claim in claims:
        if claim.operations == "checks" and claim.id not in run.tried:
            trials = prepared.check(claim.id, arm)
            run.tried = run.tried | {claim.id: trials.as_dict()}
