"""Why a verdict against an index may not hold where it would be dropped: the copy is not the source in something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from archzero_lab.jobs.indexes.verdict import KEPT, Finding, IndexVerdict
from archzero_lab.postgres.index_catalog import Index


@dataclass(frozen=True)
class Doubt:
    """A difference that can turn a plan. `of_texts`: only of an index that orders texts by the database's collation."""

    reason: str
    of_texts: bool = False


def doubted(finding: Finding, doubts: Sequence[Doubt], index: Index) -> Finding:
    """The finding, undecided where it speaks against the index and a doubt touches it."""
    reasons = [doubt.reason for doubt in doubts if not doubt.of_texts or index.orders_texts]
    if finding.verdict in KEPT or not reasons:
        return finding
    return replace(
        finding, verdict=IndexVerdict.UNDECIDED, why=f"{finding.verdict.value} on the copy; {'; '.join(reasons)}"
    )
