"""What came of an index experiment: each index's finding, the statements, plans and writes of all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from archzero_lab.jobs.indexes.session import SETTINGS
from archzero_lab.jobs.indexes.verdict import KEPT, Finding, Loss
from archzero_lab.stats.verdict import Change


@dataclass(frozen=True)
class PlanLine:
    """How a statement is read: with every index, without the migration's, and by its generic plan (with every index).

    `generic` None: it has no parameters.
    """

    statement: str
    with_indexes: str
    without: str
    generic: str | None


@dataclass(frozen=True)
class WriteRate:
    """A write of a table ("" inserts whole rows, else `column` is updated) with all of a migration's indexes, none of
    them, and those alone that are to be kept: rows a second, WAL and heap-only share a row.

    `times`: rows a second over those with all, with their interval; above 1 is faster.
    """

    table: str
    column: str
    rows_per_s: Mapping[str, float]
    wal_records: Mapping[str, float]
    wal_bytes: Mapping[str, float]
    hot: Mapping[str, float]
    times: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class IndexReport:
    """What came of a migration's indexes.

    `whole` is each statement with all of them and with none, paired; `without_dropped` with all of them and with those
    alone that are to be kept: what following the verdicts would do. `let_go`: statements that were not measured, and
    why; `differences`: those that an index gave other rows;
    `blocks`: as many as were measured; `planner`: settings under which plans were made that are not PostgreSQL's own.
    """

    findings: tuple[Finding, ...]
    whole: tuple[Loss, ...]
    without_dropped: tuple[Loss, ...]
    writes: tuple[WriteRate, ...]
    plans: tuple[PlanLine, ...]
    rows: dict[str, int]
    server: str
    let_go: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    blocks: int = 0
    planner: Mapping[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """What the indexes weigh together."""
        return sum(finding.bytes for finding in self.findings)

    @property
    def slower_without_dropped(self) -> list[str]:
        """Statements that are slower once everything to be dropped is gone; none where the verdicts hold together."""
        return [loss.statement for loss in self.without_dropped if loss.change is Change.REGRESSED]

    @property
    def kept_bytes(self) -> int:
        """What those weigh that the experiment would keep (undecided ones among them)."""
        return sum(finding.bytes for finding in self.findings if finding.verdict in KEPT)

    def as_dict(self) -> dict[str, Any]:
        """As the run's folder keeps it, with what its figures and sentences say."""
        return asdict(self) | {
            "settings": SETTINGS,
            "bytes": self.bytes,
            "kept_bytes": self.kept_bytes,
            "kept": sum(finding.verdict in KEPT for finding in self.findings),
            "slower_without_dropped": self.slower_without_dropped,
        }
