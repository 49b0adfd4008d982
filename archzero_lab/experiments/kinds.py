"""Kinds of claims: what each is about, under which operations, and how it is judged. The one place to add a kind.

A kind that needs a figure of its own has it in jobs/report/pictures.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pandas as pd

from archzero_lab.experiments.claim_result import Beside, ClaimResult
from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.gains import analyze_gain
from archzero_lab.experiments.mix import LoadResult
from archzero_lab.experiments.ranges import analyze_range
from archzero_lab.experiments.trials import analyze_check
from archzero_lab.experiments.unlike import answers_unlike
from archzero_lab.systems.checks import Tried

Indexes = Mapping[str, Sequence[Mapping[str, Any]]]


class Evidence(Protocol):
    """What a run has measured."""

    @property
    def samples(self) -> pd.DataFrame:
        """A row a timed request."""

    @property
    def slots(self) -> pd.DataFrame:
        """A row a slot."""

    @property
    def mix(self) -> LoadResult | None:
        """The load, where there was one."""

    @property
    def tried(self) -> Mapping[str, Tried]:
        """The trials of each check, by claim."""

    @property
    def indexes(self) -> Indexes:
        """By database: name, bytes, scans, constraint of each."""

    @property
    def partial(self) -> Sequence[Mapping[str, Any]]:
        """name, bytes, whole_bytes and rows_left_out of each partial index of the treatment's."""

    @property
    def tables(self) -> Mapping[str, int]:
        """Bytes of tables for reading alone, by database."""

    @property
    def unlike(self) -> Mapping[str, Sequence[str]]:
        """By kind of operation: what the arms answered otherwise than each other."""

    @property
    def until_decided(self) -> bool:
        """Whether blocks were added until the claims were decided."""

    def database_of(self, arm: str) -> str:
        """The database that an arm reads."""

    def margin_of(self, claim: Claim) -> float:
        """What identical arms differ by on the machine."""


@dataclass(frozen=True)
class ClaimKind:
    """A kind: `metrics` with the unit of each, a rule, the operations it has an experiment for ("timed": any kind of
    request), and the counters that can stand behind it (none named: the check's own)."""

    name: str
    metrics: Mapping[str, str]
    rule: str
    operations: tuple[str, ...]
    counted: tuple[str, ...]
    judge: Callable[[Claim, Evidence], ClaimResult]

    def mechanisms(self, operations: str) -> tuple[str, ...]:
        """Counters that are counted under these operations."""
        return ("hits",) if self.rule == "improvement" and operations == "mix" else self.counted


def judge_claim(claim: Claim, evidence: Evidence) -> ClaimResult:
    """The result of one claim."""
    kind = kind_of(claim.rule, claim.metric, claim.operations)
    if differences := evidence.unlike.get(claim.operations):
        timed = not evidence.samples.empty and (evidence.samples["claim"] == claim.id).any()
        return answers_unlike(claim, differences, kind.judge(claim, evidence) if timed else None)
    return kind.judge(claim, evidence)


def kind_of(rule: str, metric: str, operations: str) -> ClaimKind:
    """The kind of a claim that was read. Raises KeyError for what is none."""
    for kind in KINDS:
        where = operations if operations in kind.operations else "timed"
        if kind.rule == rule and metric in kind.metrics and where in kind.operations:
            return kind
    raise KeyError((rule, metric, operations))


def _gain(claim: Claim, evidence: Evidence) -> ClaimResult:
    margin = evidence.margin_of(claim)
    if claim.timed:
        return analyze_gain(
            claim, evidence.samples, evidence.slots, until_decided=evidence.until_decided, margin=margin
        )
    assert evidence.mix is not None
    return analyze_gain(claim, *evidence.mix.as_measured(claim.id), margin=margin)


def _hit_rate(claim: Claim, evidence: Evidence) -> ClaimResult:
    mix, slots = _slots(claim, evidence)
    hits, misses = int(slots["hits"].sum()), int(slots["misses"].sum())
    reads = slots["hits"] + slots["misses"]
    rates = (slots["hits"] / reads)[reads > 0].tolist() or [0.0]
    mechanism = {"hits": hits, "misses": misses, "moved": hits > 0}
    mechanism |= {
        name: int(slots[name].sum())
        for name in ("reloads", "needless_reloads")
        if name in slots and slots[name].notna().any()
    }
    samples = int((mix.requests["arm"] == claim.treatment).sum())
    return analyze_range(claim, rates, samples=samples, mechanism=mechanism, moved=hits > 0, context=mix.described)


def _memory(claim: Claim, evidence: Evidence) -> ClaimResult:
    mix, slots = _slots(claim, evidence)
    keys = int(slots["keys"].iloc[-1])
    mechanism = {"keys": keys, "evicted_keys": int(slots["evicted_keys"].iloc[-1]), "moved": keys > 0}
    samples = int((mix.requests["arm"] == claim.treatment).sum())
    used = slots["used_memory_mb"].tolist()
    return analyze_range(claim, used, samples=samples, mechanism=mechanism, moved=keys > 0, context=mix.described)


def _slots(claim: Claim, evidence: Evidence) -> tuple[LoadResult, pd.DataFrame]:
    assert evidence.mix is not None
    return evidence.mix, evidence.mix.treatment(claim.treatment)


def _partial_share(claim: Claim, evidence: Evidence) -> ClaimResult:
    """All partial indexes together, as a share of what they would be over every row."""
    partial = evidence.partial
    share = sum(index["bytes"] for index in partial) / max(sum(index["whole_bytes"] for index in partial), 1)
    left_out = max((index["rows_left_out"] for index in partial), default=0)
    mechanism = {"rows_left_out": left_out, "indexes": list(partial), "moved": left_out > 0}
    return analyze_range(
        claim, [share], samples=len(partial), mechanism=mechanism, moved=left_out > 0, before=1.0, counted=True
    )


def _index_size(claim: Claim, evidence: Evidence) -> ClaimResult:
    control, treatment = (evidence.indexes[evidence.database_of(arm)] for arm in (claim.control, claim.treatment))
    added = len(treatment) - len(control)
    unused = sorted(index["name"] for index in treatment if index["scans"] == 0 and not index["constraint"])
    mechanism = {"indexes": added, "unused_by_this_run": unused, "moved": added > 0}
    overhead = (_bytes(treatment) - _bytes(control)) / 1e6
    result = analyze_range(claim, [overhead], samples=1, mechanism=mechanism, moved=added > 0, counted=True)
    third = evidence.database_of(claim.beside) if claim.beside else ""
    if third not in evidence.indexes:
        return result
    more = (_bytes(evidence.indexes[third]) + evidence.tables.get(third, 0) - _bytes(control)) / 1e6
    return replace(result, beside=Beside(claim.beside, more, more / overhead if overhead else None, None, None))


def _index_use(claim: Claim, evidence: Evidence) -> ClaimResult:
    """Each index that only the treatment has is a trial: unread by the whole run's workload, it fails."""
    control, treatment = (evidence.indexes[evidence.database_of(arm)] for arm in (claim.control, claim.treatment))
    there = {index["name"] for index in control}
    added = [index for index in treatment if index["name"] not in there]
    unused = sorted(index["name"] for index in added if index["scans"] == 0)
    scans = sum(int(index["scans"]) for index in added)
    mechanism = {"scans": scans, "indexes": len(added), "unused": unused, "moved": scans > 0}
    failures = [f"{name} was not read once" for name in unused]
    result = analyze_check(claim, len(added), failures, mechanism, independent=False)
    third = evidence.database_of(claim.beside) if claim.beside else ""
    if third not in evidence.indexes:
        return result
    new = [index for index in evidence.indexes[third] if index["name"] not in there and not index["constraint"]]
    unread = sum(1 for index in new if not index["scans"])
    return replace(result, beside=Beside(claim.beside, unread, None, None, None))


def _check(claim: Claim, evidence: Evidence) -> ClaimResult:
    tried = evidence.tried[claim.id]
    return analyze_check(
        claim, tried.trials, tried.failures, tried.mechanism, independent=tried.independent, unseen=tried.unseen
    )


def _bytes(indexes: Sequence[Mapping[str, Any]]) -> int:
    return sum(int(index["bytes"]) for index in indexes)


_GAINS = {"p50": "ms", "p95": "ms", "p99": "ms", "mean": "ms", "throughput": "1/s", "share_over": "share",
          "error_share": "share", "database_time": "ms"}  # fmt: skip

KINDS = (
    ClaimKind("gain", _GAINS, "improvement", ("timed", "mix"), ("hits", "blocks", "statements"), _gain),
    ClaimKind("hit rate", {"hit_rate": "share"}, "at_least", ("mix",), ("hits",), _hit_rate),
    ClaimKind("memory", {"used_memory": "MB"}, "at_most", ("mix",), ("keys",), _memory),
    ClaimKind("index size", {"index_size": "MB"}, "at_most", ("sizes",), ("indexes",), _index_size),
    ClaimKind("partial size", {"partial_share": "share"}, "at_most", ("sizes",), ("rows_left_out",), _partial_share),
    ClaimKind("index use", {"failures": "failures"}, "none_fails", ("sizes",), ("scans",), _index_use),
    ClaimKind("check", {"failures": "failures"}, "none_fails", ("checks",), (), _check),
)
