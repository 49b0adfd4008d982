"""What is to be done with an index, from what it saves reads and what it costs writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum

from archzero_lab.stats.verdict import Change, change

MARGIN = 0.1
"""A statement that loses less than a tenth without an index does not need it."""


READS_PER_WRITE = 99.0
"""The reads a write of the lab's own mix; an index that pays only above it is too dear there."""


class IndexVerdict(StrEnum):
    """What the measurements say of an index."""

    KEEP = "keep"
    KEEP_CONSTRAINT = "keep (constraint)"
    KEEP_NEEDED = "keep (needed besides)"
    DROP_UNUSED = "drop (nothing uses it)"
    DROP_SUBSUMED = "drop (subsumed)"
    TOO_DEAR = "too dear"
    UNDECIDED = "undecided"


KEPT = (IndexVerdict.KEEP, IndexVerdict.KEEP_CONSTRAINT, IndexVerdict.KEEP_NEEDED, IndexVerdict.UNDECIDED)
"""Verdicts under which an index stays."""


@dataclass(frozen=True)
class Loss:
    """What a statement loses when indexes are hidden: its time without over its time with them, paired.

    `instead` are the indexes of the plan that it then has.
    """

    statement: str
    hidden: tuple[str, ...]
    with_ms: float
    without_ms: float
    ratio: float
    ci_low: float
    ci_high: float
    blocks: int
    instead: tuple[str, ...]

    @property
    def change(self) -> Change:
        """Regressed: the statement is slower without it."""
        return change(self.ci_low, self.ci_high, MARGIN)


@dataclass(frozen=True)
class UpdateCost:
    """What an index adds to an update of one column of a row, all other indexes there, paired with it without.

    `hot` and `hot_without` are the shares of these updates that were heap-only, with the index and without it.
    """

    column: str
    ms: float
    ci_low: float
    ci_high: float
    wal_records: float
    wal_bytes: float
    hot: float
    hot_without: float


@dataclass(frozen=True)
class WriteCost:
    """What an index adds to the insert of a row, paired with the same insert without it.

    `ms` with its interval is the added time a row. WAL is counted, without full-page images. `hot_lost` names the
    columns whose updates can be heap-only without this index and cannot with it. `update` None: no column of it could
    be updated by itself.
    """

    ms: float
    ci_low: float
    ci_high: float
    wal_records: float
    wal_bytes: float
    hot_lost: tuple[str, ...]
    update: UpdateCost | None = None

    @property
    def dearest(self) -> tuple[str, float]:
        """The write that it adds most to, and the ms; of an insert not told from nothing, the most that it may be.

        An update counts where its cost can be told from nothing: it stands beside all that the other indexes take.
        """
        insert = max(self.ms if self.ci_low > 0 else self.ci_high, 0.0)
        if self.update is not None and self.update.ci_low > 0 and self.update.ms > insert:
            return f"update of {self.update.column}", self.update.ms
        return "insert", insert

    @property
    def ends_heap_only(self) -> str:
        """The column whose updates were heap-only without the index and are not with it; "" where none was seen."""
        return self.update.column if self.update is not None and self.update.hot_without - self.update.hot > 0.5 else ""

    @property
    def in_words(self) -> str:
        """The added time of a row, or what it is at most where it cannot be told from nothing."""
        if self.ci_low <= 0:
            return f"below {max(self.ci_high, 0) * 1000:.1f} µs an insert"
        return f"{self.ms * 1000:.1f} µs an insert"


@dataclass(frozen=True)
class Finding:
    """An index and what came of it.

    `reads_a_write`: from so many reads of `best` for each of the dearest writes (`WriteCost.dearest`) on it pays.
    `partitions`: of a partitioned table's index how many it has, each with its part.
    `place`: schema and name, which `name` has only where another index has that name too.
    """

    name: str
    table: str
    bytes: int
    build_s: float | None
    verdict: IndexVerdict
    why: str
    used_by: tuple[str, ...]
    losses: tuple[Loss, ...]
    cost: WriteCost | None
    reads_a_write: float | None
    best: str | None
    partitions: int = 0
    place: tuple[str, str] = ("", "")


def keep_one_of_each(findings: Sequence[Finding], instead: Mapping[str, Set[str]]) -> list[Finding]:
    """Findings of which no two rest on each other: what takes a dropped index's place stays itself.

    `instead`: a subsumed index -> those that serve in its place. The largest goes first; one whose substitute has gone
    by then is kept.
    """
    gone = {one.name for one in findings if one.verdict in (IndexVerdict.DROP_UNUSED, IndexVerdict.TOO_DEAR)}
    kept: dict[str, Finding] = {}
    for finding in sorted(findings, key=lambda one: (-one.bytes, one.name)):
        if finding.verdict is not IndexVerdict.DROP_SUBSUMED:
            continue
        lost = sorted(instead.get(finding.name, set()) & gone)
        if lost:
            why = f"serves in place of {', '.join(lost)}, which goes; one of them is enough"
            kept[finding.name] = replace(finding, verdict=IndexVerdict.KEEP, why=why)
        else:
            gone.add(finding.name)
    return [kept.get(finding.name, finding) for finding in findings]


def judge(
    *,
    constraint: bool,
    used_by: Sequence[str],
    losses: Sequence[Loss],
    cost: WriteCost | None,
    subsumed_by: str | None,
    pair_losses: Sequence[Loss] = (),
    needed: Sequence[str] = (),
    reads_per_write: float,
) -> tuple[IndexVerdict, str, float | None, str | None]:
    """Verdict, the reason in words, the break-even in reads a write, and the statement that it is about.

    `losses`: of each statement that uses the index, it alone hidden. `pair_losses`: of the same statements, the index
    hidden together with the one that took its place. `subsumed_by`: an index whose definition makes it superfluous.
    `needed`: what it is for beside the statements; no measurement of these makes it superfluous then.
    """
    measured = _measured(constraint, used_by, losses, cost, subsumed_by, pair_losses, reads_per_write)
    verdict, why, reads, best = measured
    if constraint or not needed:
        return measured
    if verdict is IndexVerdict.KEEP:
        return verdict, f"{why}; besides, {'; '.join(needed)}", reads, best
    return IndexVerdict.KEEP_NEEDED, "; ".join(needed), reads, best


def _measured(
    constraint: bool,
    used_by: Sequence[str],
    losses: Sequence[Loss],
    cost: WriteCost | None,
    subsumed_by: str | None,
    pair_losses: Sequence[Loss],
    reads_per_write: float,
) -> tuple[IndexVerdict, str, float | None, str | None]:
    if constraint:
        return IndexVerdict.KEEP_CONSTRAINT, "a constraint depends on it, or it is unique", None, None
    if not used_by:
        if subsumed_by is not None:
            return IndexVerdict.DROP_SUBSUMED, f"{subsumed_by} begins with the same columns", None, None
        return IndexVerdict.DROP_UNUSED, "no statement reads it, and none does more work without it", None, None
    slower = [loss for loss in losses if loss.change is Change.REGRESSED]
    if not slower:
        # whatever side the ratio is on: what noise hides may be a loss
        if any(loss.change is Change.INCONCLUSIVE and loss.ci_high > 1 + MARGIN for loss in losses):
            worst = max(losses, key=lambda loss: loss.ci_high)
            return (
                IndexVerdict.UNDECIDED,
                f"{worst.statement}: {worst.ratio:.2f} times as long without it ({worst.ci_low:.2f} to "
                f"{worst.ci_high:.2f}); give more --blocks",
                None, worst.statement,
            )  # fmt: skip
        others = sorted({name for loss in losses for name in loss.instead})
        needed = [loss for loss in pair_losses if loss.change is Change.REGRESSED]
        if others and needed:
            return IndexVerdict.DROP_SUBSUMED, f"{', '.join(others)} serves the same; one of them is enough", None, None
        if others:
            return IndexVerdict.DROP_SUBSUMED, f"{', '.join(others)} serves its statements as fast", None, None
        # no other index serves them: what is as fast over these rows need not be over more
        return IndexVerdict.UNDECIDED, "read, but its statements are as fast without any index at this size", None, None
    best = max(slower, key=lambda loss: loss.without_ms - loss.with_ms)
    best_loss = f"{best.statement}: {best.with_ms:.3g} → {best.without_ms:.3g} ms without it"
    write, dear = cost.dearest if cost is not None else ("insert", 0.0)
    if dear <= 0:
        return IndexVerdict.KEEP, f"{best_loss}; its cost to writes was too small to measure", 0.0, best.statement
    reads = dear / (best.without_ms - best.with_ms)
    if reads > reads_per_write:
        why = f"{best_loss}; pays above {reads:,.0f} such reads an {write}"
        return IndexVerdict.TOO_DEAR, why, reads, best.statement
    return IndexVerdict.KEEP, best_loss, reads, best.statement
