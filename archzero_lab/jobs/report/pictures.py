"""The figures on the report's first page: of each claim by its kind, and of the capacity where one is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.kinds import kind_of
from archzero_lab.experiments.metrics import by_block
from archzero_lab.jobs.load.result import known_capacity, rate_in_words
from archzero_lab.jobs.report.evidence import RunEvidence, read_claims_of
from archzero_lab.reporting import course_figures, figures, load_figures
from archzero_lab.reporting.figures import Picture
from archzero_lab.run_folders.run import Run


def capacity_section(size: int, machine: str) -> dict[str, Any] | None:
    """What the newest capacity of this machine and size tells, for the report's page."""
    known = known_capacity(size, machine)
    if known is None:
        return None
    rows = []
    for entry in known.arms:
        capacity = entry["capacity"]
        interval = "none" if capacity["ci_low"] is None else f"{capacity['ci_low']:.0f} to {capacity['ci_high']:.0f}"
        rate = rate_in_words(capacity["rate_per_s"])
        rows.append({"arm": entry["arm"], "rate": rate, "interval": interval})
    drawn = (load_figures.capacities(known.arms), load_figures.rate_curves(known.trials, known.target_p99_ms))
    return {
        "run_id": known.run_id,
        "commit": known.commit,
        "target_p99_ms": known.target_p99_ms,
        "rows": rows,
        "figures": [figure._repr_html_() for figure in drawn],
    }


def claim_pictures(run: Run) -> dict[str, list[Picture]]:
    """The figures of each claim of a run; none of one that is known by its summary alone."""
    if not run.judgeable:
        return {}
    evidence = RunEvidence(run, {})
    entries = {entry["id"]: entry for entry in run.summary["claims"]}
    names = {name: str(arm["label"]) for name, arm in run.facts["arms"].items()}
    made: dict[str, list[Picture]] = {}
    for claim in read_claims_of(run):
        draw = _PICTURES.get(kind_of(claim.rule, claim.metric, claim.operations).name)
        if draw is not None:
            made[claim.id] = draw(claim, evidence, entries[claim.id], names)
    return made


def _gain(claim: Claim, evidence: RunEvidence, entry: dict[str, Any], names: dict[str, str]) -> list[Picture]:
    """Its paired blocks; its course where it has one; nothing of one that was not timed."""
    if not entry["measured"]["samples"]:
        return []
    assert isinstance(claim.claimed.after, float)
    frames = (evidence.samples, evidence.slots)
    if not claim.timed:
        assert evidence.mix is not None
        frames = evidence.mix.as_measured(claim.id)
    mine = (frame[frame["claim"] == claim.id] for frame in frames)
    table = by_block(claim.metric, claim.over_ms, *mine)
    table = table[[arm for arm in claim.arms if arm in table]]
    what = f"{claim.metric.replace('_', ' ')}, {claim.unit}"
    line = None if claim.claimed.unit else claim.claimed.after
    drawn = [figures.paired_blocks(table, f"{claim.title}: block by block", what, line, names)]
    if entry["course"] is not None:
        assert claim.claimed.improvement is not None
        title = f"{claim.title}: evidence"
        drawn.append(course_figures.evidence_course(entry["course"], claim.claimed.improvement, title))
    return drawn


def _hit_rate(claim: Claim, evidence: RunEvidence, entry: dict[str, Any], names: dict[str, str]) -> list[Picture]:
    assert evidence.mix is not None
    assert isinstance(claim.claimed.after, tuple)
    return [figures.hit_rate_by_block(evidence.mix.treatment(claim.treatment), claim.claimed.after)]


def _memory(claim: Claim, evidence: RunEvidence, entry: dict[str, Any], names: dict[str, str]) -> list[Picture]:
    assert evidence.mix is not None
    return [figures.memory_by_block(evidence.mix.treatment(claim.treatment))]


def _index_size(claim: Claim, evidence: RunEvidence, entry: dict[str, Any], names: dict[str, str]) -> list[Picture]:
    rows = evidence.indexes[evidence.database_of(claim.treatment)]
    frame = pd.DataFrame(rows).assign(mb=lambda sizes: sizes["bytes"] / 1e6)
    return [figures.index_bars(frame[~frame["constraint"]], claim.title)]


_PICTURES: dict[str, Callable[[Claim, RunEvidence, dict[str, Any], dict[str, str]], list[Picture]]] = {
    "gain": _gain,
    "hit rate": _hit_rate,
    "memory": _memory,
    "index size": _index_size,
}
"""Kind of claim -> how it is drawn; a kind that is not here has no figure."""
