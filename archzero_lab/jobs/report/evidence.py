"""A finished measurement as the kinds of claims read it: from the run's folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.mix import LoadResult
from archzero_lab.run_folders.margins import margin_of
from archzero_lab.run_folders.run import Run
from archzero_lab.systems.checks import Tried


class RunEvidence:
    """Implements experiments.kinds.Evidence."""

    def __init__(self, run: Run, margins: Mapping[str, float]) -> None:
        facts = run.facts
        self.samples, self.slots = run.samples, run.slots
        self.mix = LoadResult(run.load, run.load_slots, run.load_in_words) if run.has_load else None
        self.tried = {name: Tried(**entry) for name, entry in run.tried.items()}
        self.indexes: dict[str, list[dict[str, Any]]] = run.indexes
        self.partial: list[dict[str, Any]] = run.sizes["partial"]
        self.tables: dict[str, int] = run.sizes["tables"]
        self.unlike = run.unlike
        self.until_decided: bool = facts["until_decided"]
        self._arms: dict[str, Any] = facts["arms"]
        self._margins = margins

    def database_of(self, arm: str) -> str:
        """The database that an arm reads."""
        return str(self._arms[arm]["database"])

    def margin_of(self, claim: Claim) -> float:
        """What identical arms differ by on the run's machine."""
        return margin_of(claim, self._margins)


def write_claims(run: Run, claims: Sequence[Claim]) -> None:
    """Keep the claims as they stand now."""
    run.claims = msgspec.to_builtins(list(claims))


def read_claims_of(run: Run) -> list[Claim]:
    """The claims as they stood when the run was measured."""
    return msgspec.convert(run.claims, list[Claim])
