"""The figures on the report's first page: of each claim, and of the capacity where one is known."""

from __future__ import annotations

from typing import Any

import pandas as pd

from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.experiments.metrics import by_block
from archzero_lab.jobs.load.mix import LoadResult
from archzero_lab.jobs.load.result import known_capacity, rate_told
from archzero_lab.reporting import course_figures, figures, load_figures


def capacity_section(cards: int, machine: str) -> dict[str, Any] | None:
    """What the newest capacity of this machine and size tells, for the report's page."""
    known = known_capacity(cards, machine)
    if known is None:
        return None
    rows = []
    for entry in known.arms:
        found = entry["capacity"]
        interval = "none" if found["ci_low"] is None else f"{found['ci_low']:.0f} to {found['ci_high']:.0f}"
        rate = rate_told(found["rate_per_s"])
        rows.append({"arm": entry["arm"], "rate": rate, "interval": interval})
    drawn = (load_figures.capacities(known.arms), load_figures.rate_curves(known.trials, known.target_p99_ms))
    return {
        "run_id": known.run_id,
        "commit": known.commit,
        "target_p99_ms": known.target_p99_ms,
        "rows": rows,
        "figures": [figure._repr_html_() for figure in drawn],
    }


def claim_pictures(
    claims: list[Claim],
    summary: dict[str, Any],
    measured: Measurements,
    load: LoadResult | None,
    indexes: dict[str, list[dict[str, Any]]],
) -> dict[str, list[figures.Picture]]:
    """The figures of each claim: its paired blocks, or what its number is made of; its course where it has one."""
    made: dict[str, list[figures.Picture]] = {}
    samples, slots = measured.samples_frame(), measured.slots_frame()
    for claim, told in zip(claims, summary["claims"], strict=True):
        title = f"{claim.title}: block by block"
        if claim.rule == "improvement":
            assert isinstance(claim.claimed.after, float)
            frames = (samples, slots) if claim.timed or load is None else load.as_measured(claim.id)
            mine = (frame[frame["claim"] == claim.id] for frame in frames)
            table = by_block(claim.metric, claim.over_ms, *mine)
            what = f"{claim.metric.replace('_', ' ')}, {claim.unit}"
            line = None if claim.claimed.unit else claim.claimed.after
            made[claim.id] = [figures.paired_blocks(table, title, what, line)]
            if told["course"] is not None:
                assert claim.claimed.improvement is not None
                name = f"{claim.title}: evidence"
                made[claim.id].append(course_figures.evidence_course(told["course"], claim.claimed.improvement, name))
        elif claim.metric == "index_size":
            frame = pd.DataFrame(indexes[claim.treatment]).assign(mb=lambda rows: rows["bytes"] / 1e6)
            made[claim.id] = [figures.index_bars(frame[~frame["constraint"]], "Phase 5's indexes")]
        elif claim.operations == "mix" and load is not None:
            mixed = load.treatment(claim.treatment)
            assert isinstance(claim.claimed.after, tuple)
            hit_rate = claim.metric == "hit_rate"
            picture = (
                figures.hit_rate_by_block(mixed, claim.claimed.after) if hit_rate else figures.memory_by_block(mixed)
            )
            made[claim.id] = [picture]
    return made
