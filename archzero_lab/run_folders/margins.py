"""Margins: by how much two identical arms differ on a machine, as its last self-check found; beside the history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from archzero_lab.experiments.claims import Claim
from archzero_lab.run_folders.environment import machine_fingerprint
from archzero_lab.settings import REPORTS

MARGINS = REPORTS / "margins.json"
"""{fingerprint: {"detail p50": 0.03, …}}"""


def margins(machine: str = "", path: Path = MARGINS) -> dict[str, float]:
    """A machine's margins by "operation metric", this one's unless named; none before a self-check has run there."""
    return _read(path).get(machine or machine_fingerprint(), {})


def keep_margins(machine: str, margins: Mapping[str, float], path: Path = MARGINS) -> None:
    """Write a machine's margins in place of its older ones, in one step."""
    kept = _read(path) | {machine: dict(margins)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(kept, indent=1) + "\n")
    partial.replace(path)


def margin_of(claim: Claim, known: Mapping[str, float]) -> float:
    """A machine's margin for a claim's metric: of its own operations, else the largest there is of that metric, else of
    any: a metric that the self-check does not measure is no steadier than those that it does.
    """
    return margin_for(claim.operations, claim.metric, known)


def margin_for(operations: str, metric: str, known: Mapping[str, float]) -> float:
    """As margin_of, of a metric of some operations."""
    own = known.get(f"{operations} {metric}")
    alike = [margin for name, margin in known.items() if name.split()[-1] == metric]
    return own if own is not None else max(alike or known.values(), default=0.0)


def _read(path: Path) -> dict[str, dict[str, float]]:
    try:
        kept: dict[str, dict[str, float]] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return kept
