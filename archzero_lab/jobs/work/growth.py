"""Growth: the work of each kind of request at several sizes of the database, the law of it, and where it leads.

A query that is fast today and linear in its table is a finding before it is slow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from archzero_lab.errors import LabError
from archzero_lab.jobs.work.counted import Counted, CountedPass, most_common

LEAST_SIZES = 4
_NOT_KNOWN, _SHORT = 1.0, 0.8
_CONSTANT, _LOGARITHMIC, _SLOW = 0.03, 0.25, 0.5
_FAR = 1e12


@dataclass(frozen=True)
class Law:
    """How the blocks of a request grow: as size ** `exponent` (its 95 % interval), in a word, with where it leads.

    `limit_at` is the size at which the request reads as much as the limit, None where it does not within 10 ** 12 rows.
    `turned` are the sizes between which the plan of a statement became another.
    """

    kind: str
    sizes: tuple[int, ...]
    blocks: tuple[float, ...]
    exponent: float
    low: float
    high: float
    word: str
    limit_at: float | None
    turned: tuple[str, ...] = ()

    @property
    def finding(self) -> bool:
        """Whether it grows with the table and meets the limit."""
        return self.limit_at is not None


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
        turned = _turned(sizes, [found_pass.first for found_pass in passes])
        fitted.append(fit(kind, sizes, blocks, limit, turned))
    return sorted(fitted, key=lambda law: -law.exponent)


def fit(kind: str, sizes: Sequence[int], blocks: Sequence[float], limit: int, turned: Sequence[str] = ()) -> Law:
    """The exponent by least squares over the logarithms, its interval by Student's t; the word that it stands for.

    >>> fit("scan", [1_000, 10_000, 100_000, 1_000_000], [10, 100, 1_000, 10_000], 50_000).word
    'linear'
    """
    x, y = np.log(np.array(sizes, float)), np.log(np.maximum(np.array(blocks, float), 1.0))
    line = stats.linregress(x, y)
    half = float(np.nan_to_num(stats.t.ppf(0.975, len(sizes) - 2) * line.stderr))  # nan where all are the same
    exponent = float(line.slope)
    low, high = exponent - half, exponent + half
    limit_at = None
    if exponent > _LOGARITHMIC:
        reached = (math.log(limit) - float(y[-1])) / exponent + float(x[-1])
        limit_at = math.exp(reached) if reached < math.log(_FAR) else None
    return Law(
        kind, tuple(sizes), tuple(blocks), exponent, low, high, _word(exponent, low, high), limit_at, tuple(turned)
    )


def _word(exponent: float, low: float, high: float) -> str:
    if high - low > _NOT_KNOWN:
        return "not known"
    if exponent < _CONSTANT:
        return "constant"
    if high < _SLOW:
        return "logarithmic" if exponent < _LOGARITHMIC else "slower than linear"
    if low > 1.2:
        return "worse than linear"
    if low <= 1 <= high or exponent > 0.85:
        return "linear"
    return "slower than linear"


def _turned(sizes: Sequence[int], passes: Sequence[CountedPass]) -> list[str]:
    """Between which sizes the plan that was run most often became another, a statement once."""
    turned = []
    for before, after, size, next_size in zip(passes, passes[1:], sizes, sizes[1:], strict=False):
        for mark, statement in before.statements.items():
            other = after.statements.get(mark)
            if other is None or not statement.plans or not other.plans:
                continue
            if most_common(statement.plans) != most_common(other.plans):
                turned.append(f"another plan between {size:,} and {next_size:,}")
    return list(dict.fromkeys(turned))
