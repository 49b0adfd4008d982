"""What a run has measured, told claim by claim: which analysis each of them takes, and of which numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from archzero_lab.experiments.analysis import analyze_check, analyze_gain, analyze_range
from archzero_lab.experiments.claim_result import ClaimResult
from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.jobs.load.mix import LoadResult
from archzero_lab.jobs.studies.self_check import margin_of
from archzero_lab.postgres.partial_indexes import PartialIndex
from archzero_lab.systems.arczero import index_set_v2
from archzero_lab.systems.checks import Tried


@dataclass(frozen=True)
class Sizes:
    """Indexes by arm, the bytes of the tables that index set v2 brings, and the treatment's partial indexes."""

    indexes: dict[str, list[dict[str, Any]]]
    tables: int
    partial: list[PartialIndex]


def result_of(
    claim: Claim,
    measured: Measurements,
    load: LoadResult | None,
    sizes: Sizes,
    tried: dict[str, Tried],
    until_decided: bool,
) -> ClaimResult:
    """The result of one claim: of its trials, its paired blocks, its sizes or its load."""
    if claim.operations == "checks":
        found = tried[claim.id]
        return analyze_check(claim, found.trials, found.failures, found.mechanism)
    if claim.timed:
        frames = measured.samples_frame(), measured.slots_frame()
        return analyze_gain(claim, *frames, until_decided=until_decided, margin=margin_of(claim))
    if claim.operations == "sizes":
        if claim.metric == "partial_share":
            return _partial_size(claim, sizes.partial)
        return _index_size(claim, sizes) if claim.metric == "index_size" else _index_use(claim, sizes.indexes)
    assert load is not None
    if claim.rule == "improvement":
        return analyze_gain(claim, *load.as_measured(claim.id), margin=margin_of(claim))
    slots = load.treatment(claim.treatment)
    hits, misses = int(slots["hits"].sum()), int(slots["misses"].sum())
    samples = int((load.requests["arm"] == claim.treatment).sum())
    if claim.metric == "hit_rate":
        rates = (slots["hits"] / (slots["hits"] + slots["misses"])).tolist()
        mechanism: dict[str, Any] = {"hits": hits, "misses": misses, "moved": hits > 0}
        return analyze_range(claim, rates, samples=samples, mechanism=mechanism, moved=hits > 0, context=load.described)
    keys = int(slots["keys"].iloc[-1])
    mechanism = {"keys": keys, "evicted_keys": int(slots["evicted_keys"].iloc[-1]), "moved": keys > 0}
    memory = slots["used_memory_mb"].tolist()
    return analyze_range(claim, memory, samples=samples, mechanism=mechanism, moved=keys > 0, context=load.described)


def _partial_size(claim: Claim, partial: list[PartialIndex]) -> ClaimResult:
    """All partial indexes together, as a share of what they would be over every row."""
    share = sum(index.bytes for index in partial) / max(sum(index.whole_bytes for index in partial), 1)
    left_out = max((index.rows_left_out for index in partial), default=0)
    mechanism = {"rows_left_out": left_out, "indexes": [asdict(index) for index in partial], "moved": left_out > 0}
    return analyze_range(claim, [share], samples=len(partial), mechanism=mechanism, moved=left_out > 0, before=1.0)


def _index_size(claim: Claim, found: Sizes) -> ClaimResult:
    indexes = found.indexes
    sizes = {arm: sum(int(index["bytes"]) for index in rows) for arm, rows in indexes.items()}
    added = len(indexes[claim.treatment]) - len(indexes[claim.control])
    unused = [i["name"] for i in indexes[claim.treatment] if i["scans"] == 0 and not i["constraint"]]
    mechanism = {"indexes": added, "unused_by_this_run": sorted(unused), "moved": added > 0}
    overhead = (sizes[claim.treatment] - sizes[claim.control]) / 1e6
    result = analyze_range(claim, [overhead], samples=1, mechanism=mechanism, moved=added > 0)
    return replace(result, beside=index_set_v2.size_beside(claim, indexes, found.tables))


def _index_use(claim: Claim, indexes: dict[str, list[dict[str, Any]]]) -> ClaimResult:
    """Each index that only the treatment has is a trial: unread by the whole run's workload, it fails."""
    there = {index["name"] for index in indexes[claim.control]}
    added = [index for index in indexes[claim.treatment] if index["name"] not in there]
    unused = sorted(index["name"] for index in added if index["scans"] == 0)
    scans = sum(int(index["scans"]) for index in added)
    mechanism: dict[str, Any] = {"scans": scans, "indexes": len(added), "unused": unused, "moved": scans > 0}
    found = analyze_check(claim, len(added), [f"{name} was not read once" for name in unused], mechanism)
    return replace(found, beside=index_set_v2.unread_beside(claim, indexes))
