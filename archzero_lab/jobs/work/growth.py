"""Growth: the work of each kind of request at several sizes of the database, the law of it, and where it leads.

A query that is fast today and linear in its table is a finding before it is slow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from archzero_lab.errors import LabError
from archzero_lab.jobs.work.conditions import tables_read
from archzero_lab.jobs.work.counted import Counted, CountedKind, CountedPass, most_common
from archzero_lab.stats.growth import Law, fit

LEAST_SIZES = 4
_SHORT = 0.8


def laws(counts: Mapping[int, Counted], limit: int) -> list[Law]:
    """A law for each kind of request that reads, of counts by size, with the cache emptied.

    Sizes that the database has not are left out. Raises LabError where fewer than four remain.
    """
    sizes = sorted(size for size, one in counts.items() if max(one.tables.values(), default=0) >= _SHORT * size)
    if len(sizes) < LEAST_SIZES:
        raise LabError(
            f"no law of fewer than {LEAST_SIZES} sizes: the largest table has not as many rows as were asked for"
        )
    fitted = []
    for kind, one in counts[sizes[0]].kinds.items():
        passes = [counts[size].kinds[kind] for size in sizes if kind in counts[size].kinds]
        if one.writes or len(passes) < len(sizes):
            continue
        blocks = [found_pass.first.blocks / found_pass.requests for found_pass in passes]
        sent = tuple(_most_calls(found_pass.first) / found_pass.requests for found_pass in passes)
        turned = _turned(sizes, [found_pass.first for found_pass in passes])
        rows = [_rows_read(counts[size], one, size) for size, one in zip(sizes, passes, strict=True)]
        after = sizes.index(turned[-1][1]) if turned else 0
        law = fit(kind, rows[after:], blocks[after:], limit)
        if blocks[-1] >= limit:  # whatever its law is
            law = replace(law, limit_at=float(rows[-1]))
        words = tuple(f"another plan between {before:,} and {later:,}" for before, later in turned)
        fitted.append(
            replace(law, sizes=tuple(sizes), blocks=tuple(blocks), turned=words, statements=sent, rows=tuple(rows))
        )
    return sorted(fitted, key=lambda law: (math.isnan(law.exponent), -law.exponent))


def _most_calls(counted: CountedPass) -> int:
    """Calls of the statement that is sent most."""
    return max((one.calls for one in counted.statements.values() if not one.inner), default=0)


def _rows_read(counted: Counted, kind: CountedKind, size: int) -> int:
    """Rows of the largest table that the plans of a kind of request name; of none the size that was asked for."""
    names = tables_read(kind)
    rows = [rows for table, rows in counted.tables.items() if table.rpartition(".")[2] in names]
    return max(rows, default=size)


def _turned(sizes: Sequence[int], passes: Sequence[CountedPass]) -> list[tuple[int, int]]:
    """Between which sizes the plan that was run most often became another, of whichever statement."""
    turned = []
    for before, after, size, next_size in zip(passes, passes[1:], sizes, sizes[1:], strict=False):
        for mark, statement in before.statements.items():
            other = after.statements.get(mark)
            if other is None or not statement.plans or not other.plans:
                continue
            if most_common(statement.plans) != most_common(other.plans):
                turned.append((size, next_size))
    return list(dict.fromkeys(turned))
