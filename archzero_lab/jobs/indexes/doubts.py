"""Why a verdict against an index may not hold where it would be dropped: what the copy or the run has not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from archzero_lab.jobs.indexes.verdict import KEPT, Finding, IndexVerdict
from archzero_lab.postgres.index_catalog import Index
from archzero_lab.postgres.restoring import LeftOut


@dataclass(frozen=True)
class Doubt:
    """A reason, and which indexes it touches.

    `of_texts`: only one that orders texts by the database's collation. `tables`: only one of these tables, whether a
    measured statement touches it or not; `everywhere`: one of any table. `index`: the one of this schema and name.
    """

    reason: str
    of_texts: bool = False
    tables: frozenset[str] | None = None
    index: tuple[str, str] | None = None
    everywhere: bool = False

    def touches(self, index: Index, measured: bool) -> bool:
        """Whether it speaks of an index; `measured`: some statement that was measured may touch its table."""
        if self.everywhere:
            return True
        if self.index is not None:
            return self.index == (index.schema, index.name)
        if self.tables is not None:
            return index.table in self.tables
        # on any server none of the statements would read an index of a table that they do not touch
        return measured and (not self.of_texts or index.orders_texts)


def not_measured(texts: Mapping[str, str], indirect: Set[str]) -> list[Doubt]:
    """Of each statement (by name) that was asked for and could not be measured: it may read what its text names.

    One that names a view or a function of the database's own (`indirect`) may read any table.
    """
    doubts = []
    for name, text in texts.items():
        words = set(re.findall(r"\w+", text))
        words |= {word.lower() for word in words}  # as PostgreSQL reads a name that is not quoted
        reason = f"statement {name}, which was not measured, may read it"
        doubts.append(Doubt(reason, tables=frozenset(words), everywhere=bool(words & indirect)))
    return doubts


def not_copied(left_out: Sequence[LeftOut]) -> list[Doubt]:
    """Of each object that a table's copy has not (a foreign key, a trigger, rows): it may need the table's indexes."""
    return [
        Doubt(f"the copy has not {one.in_words}", tables=frozenset(one.name.split()[:1]))
        for one in left_out if one.kind not in ("EXTENSION", "COLLATION", "TYPE", "DOMAIN", "CAST")
    ]  # fmt: skip


def doubted(finding: Finding, doubts: Sequence[Doubt], index: Index, measured: bool) -> Finding:
    """The finding, undecided where it speaks against the index and a doubt touches it."""
    reasons = [doubt.reason for doubt in doubts if doubt.touches(index, measured)]
    if finding.verdict in KEPT or not reasons:
        return finding
    more = f", and {len(reasons) - 2} reasons more" if len(reasons) > 2 else ""
    return replace(
        finding, verdict=IndexVerdict.UNDECIDED,
        why=f"{finding.verdict.value} on the copy; {'; '.join(reasons[:2])}{more}",
    )  # fmt: skip
