"""Figure of a pool sweep: throughput, p95 and wait for a connection against the pool's size, by number of users."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

from archzero_lab.reporting.course_figures import PALETTE
from archzero_lab.reporting.figures import Picture, legend_above, log_axis, picture

_PANELS = (
    ("throughput_per_s", "answers a second", 1.0),
    ("p95_ms", "p95, ms", 1.0),
    ("acquire_wait_s", "wait for a connection, ms", 1000.0),
)


def pool_curves(frame: pd.DataFrame, knees: pd.DataFrame) -> Picture:
    """Medians over the rounds of jobs.studies.pool_sweep, the rounds' range as a band, the knees ringed.

    Waits for a connection only where the service told them.
    """
    ringed = knees["knee"].to_dict()
    known = [panel for panel in _PANELS if frame[panel[0]].notna().any()]
    figure, panels = plt.subplots(1, len(known), figsize=(4 * len(known), 3.9), layout="constrained")
    for axes, (column, what, factor) in zip(panels, known, strict=True):
        for (users, group), colour in zip(frame.groupby("users"), PALETTE, strict=False):
            by_size = group.groupby("size")[column]
            median = by_size.median() * factor
            label = "one user" if users == 1 else f"{users} users"
            axes.plot(median.index, median, "o-", color=colour, linewidth=2, label=label)
            axes.fill_between(median.index, by_size.min() * factor, by_size.max() * factor, color=colour, alpha=0.15,
                              linewidth=0)  # fmt: skip
            if column == "throughput_per_s":
                knee = int(ringed[users])
                axes.plot([knee], [median[knee]], "o", markersize=15, markerfacecolor="none", color=colour)
        log_axis(axes.xaxis, axes.set_xscale)
        sizes = sorted(frame["size"].unique())
        axes.set_xticks(sizes, [str(size) for size in sizes])
        if column != "throughput_per_s":
            log_axis(axes.yaxis, axes.set_yscale)
        axes.set(xlabel="connections in the pool")
        axes.set_title(what, loc="left", fontweight="bold", fontsize=11)
    legend_above(panels[0], columns=4)
    panels[0].set_title("answers a second (ring: the knee)", loc="left", fontweight="bold", fontsize=11, pad=26)
    said = ", ".join(f"{users} users at {knee}" for users, knee in ringed.items())
    return picture(figure, f"Pool size: the knee of {said}")
