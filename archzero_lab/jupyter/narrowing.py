"""The blocks of a running experiment and their narrowing interval, as an SVG that costs next to nothing to draw.

Drawn in the process that measures: a figure of matplotlib's would hold the interpreter for a tenth of a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM = 560, 150, 44, 8, 18


def narrowing(
    ratios: Sequence[float], intervals: Sequence[tuple[int, float, float]], wanted: int, margin: float
) -> str:
    """A dot a block (its ratio treatment / control), the interval after so many blocks as a band, on a log scale.

    `intervals` are (blocks, low, high). Within `margin` of 1, shaded, a difference is none.
    """
    shown = [value for value in (*ratios, *(edge for _, *edges in intervals for edge in edges)) if 0 < value < math.inf]
    if not shown:
        return ""
    low = math.log(min(*shown, 1 / (1 + 2 * margin)))
    high = math.log(max(*shown, 1 + 2 * margin))

    across = min(wanted, max(12, round(1.5 * len(ratios))))  # of hundreds, the first ones would be one mark

    def x(block: float) -> float:
        return _LEFT + (block - 0.5) / across * (_WIDTH - _LEFT - _RIGHT)

    def y(ratio: float) -> float:
        share = (math.log(min(max(ratio, math.exp(low)), math.exp(high))) - low) / (high - low)
        return 6 + (1 - share) * (_HEIGHT - _BOTTOM - 6)

    none = f"<rect x='{_LEFT}' y='{y(1 + margin):.1f}' width='{_WIDTH - _LEFT - _RIGHT}' " \
           f"height='{y(1 / (1 + margin)) - y(1 + margin):.1f}' fill='currentColor' opacity='0.1'/>"  # fmt: skip
    upper = [f"{x(blocks):.1f},{y(top):.1f}" for blocks, _, top in intervals]
    lower = [f"{x(blocks):.1f},{y(bottom):.1f}" for blocks, bottom, _ in reversed(intervals)]
    band = f"<polygon points='{' '.join(upper + lower)}' fill='#0072B2' opacity='0.25'/>" if len(intervals) > 1 else ""
    dots = "".join(
        f"<circle cx='{x(at):.1f}' cy='{y(ratio):.1f}' r='2.6' fill='#0072B2'/>" for at, ratio in enumerate(ratios, 1)
    )
    marks = "".join(
        f"<text x='{_LEFT - 4}' y='{y(value) + 4:.1f}' text-anchor='end'>{value:.2f}</text>"
        for value in _apart([1.0, math.exp(low), math.exp(high)], y)
    )
    foot = f"<text x='{_WIDTH - _RIGHT}' y='{_HEIGHT - 3}' text-anchor='end'>block {len(ratios)} of {wanted}</text>"
    said = f"ratio treatment / control of {len(ratios)} blocks"
    return (
        f"<svg width='{_WIDTH}' height='{_HEIGHT}' role='img' aria-label='{said}' font-size='11' "
        f"fill='currentColor'>{none}{band}{dots}{marks}{foot}</svg>"
    )


def _apart(values: Sequence[float], y: Callable[[float], float]) -> list[float]:
    """The first of those values whose labels would lie upon each other."""
    kept: list[float] = []
    for value in values:
        if all(abs(y(value) - y(other)) > 12 for other in kept):
            kept.append(value)
    return kept
