"""Which claims a report is about: those asked for, each with an experiment that can be run here."""

from __future__ import annotations

from collections.abc import Sequence

from archzero_lab.errors import SettingsError
from archzero_lab.experiments.claims import Claim, choose_claims, load_claims
from archzero_lab.systems.arczero.checks.registry import CHECKS
from archzero_lab.systems.arczero.services import SERVICE_ARMS


def chosen_claims(only: Sequence[str] = ()) -> list[Claim]:
    """The claims named, or all there are. Raises UnknownNameError; SettingsError for one that nothing can measure."""
    claims = choose_claims(list(only), load_claims())
    for claim in claims:
        for arm in claim.arms:
            if arm not in SERVICE_ARMS:
                raise SettingsError(f"claim {claim.id}: unknown arm '{arm}'; known: {', '.join(SERVICE_ARMS)}")
        if claim.operations == "checks" and claim.id not in CHECKS:
            raise SettingsError(f"claim {claim.id}: there is no check of that name; known: {', '.join(CHECKS)}")
    return claims


def arms_of(claims: Sequence[Claim]) -> list[str]:
    """The arms that these claims compare, each once; treatment and control always, which checks and plans want."""
    named = {"control", "treatment", *(arm for claim in claims for arm in claim.arms)}
    return [arm for arm in SERVICE_ARMS if arm in named]
