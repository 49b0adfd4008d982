"""Requests a second at most against the number of replicas, by calculation: a panel a share of writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

from archzero_lab.reporting.course_figures import PALETTE
from archzero_lab.reporting.figures import Picture, picture

_PLAIN = FuncFormatter(lambda value, _: f"{value:,.0f}")


def scaling_curves(sizes: Sequence[int], panels: Mapping[float, Mapping[float, Sequence[float]]]) -> Picture:
    """`panels`: by share of writes and by hit rate of the cache the requests a second of each size."""
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 4), sharey=True, layout="constrained")
    places = range(len(sizes))
    for one, (writes, lines) in zip(axes if len(panels) > 1 else [axes], panels.items(), strict=True):
        for (hits, rates), colour in zip(lines.items(), PALETTE, strict=False):
            label = f"cache hit {hits:.0%}" if hits else "no cache"
            one.plot(places, rates, "o-", color=colour, linewidth=2, label=label)
        one.set_yscale("log")
        one.yaxis.set_major_formatter(_PLAIN)
        one.set_xticks(list(places), [str(size) for size in sizes])
        one.set(xlabel="replicas")
        one.set_title(f"{writes:.0%} writes", loc="left", fontweight="bold", fontsize=11)
    first = axes[0] if len(panels) > 1 else axes
    first.set_ylabel("requests a second at most")
    first.legend(loc="lower right", frameon=False)
    return picture(figure, "What replicas and a cache carry, calculated from CPU times")
