"""The checks of a report: each tried on the system, its trials kept as soon as they are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archzero_lab.experiments.claims import Claim
from archzero_lab.run_folders.run import Run
from archzero_lab.systems.arms import Arm
from archzero_lab.systems.system import Prepared


def try_checks(
    run: Run, claims: Sequence[Claim], prepared: Prepared, arm: Arm,
    tell: Callable[[float], None] = lambda share: None,
) -> None:  # fmt: skip
    """Try what is not tried yet."""
    wanted = [claim for claim in claims if claim.operations == "checks" and claim.id not in run.tried]
    for number, claim in enumerate(wanted, 1):
        trials = prepared.check(claim.id, arm)
        run.tried = run.tried | {claim.id: trials.as_dict()}
        tell(number / len(wanted))
