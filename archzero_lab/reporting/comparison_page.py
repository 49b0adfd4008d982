"""Two runs compared, as a page: how many series moved, then each with its interval, what moved most first."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd

from archzero_lab.reporting.figures import COLOURS, Picture, log_axis, picture
from archzero_lab.reporting.pages import plain_page
from archzero_lab.reporting.tables import whole_html
from archzero_lab.run_folders.run import Run
from archzero_lab.run_folders.series import Row


def comparison_page(
    before: Run, after: Run, rows: Sequence[Row], unlike: Sequence[str], yardstick: float | None
) -> str:
    """One self-contained page. `unlike` is what the runs differ in beside the code."""
    counts = pd.Series([row.found.value for row in rows]).value_counts()
    said = ", ".join(f"{number} {word}" for word, number in counts.items()) or "nothing in common"
    lead = f'<p class="answer"><strong>{html.escape(said)}.</strong></p>'
    lead += f'<p class="quiet">run {html.escape(before.id)}, then {html.escape(after.id)}'
    lead += f"; the machine's yardstick {yardstick - 1:+.1%}</p>" if yardstick is not None else "</p>"
    lead += "".join(f'<p class="warning">Not like with like: {html.escape(one)}.</p>' for one in unlike)
    ordered = sorted(rows, key=lambda row: -abs(math.log(row.ratio)))
    frame = pd.DataFrame(
        [
            {
                "series": row.name, "before, ms": row.before, "after, ms": row.after, "after / before": row.ratio,
                "95 % interval": f"{row.ci_low:.3f} to {row.ci_high:.3f}", "verdict": row.found.value,
                "note": row.note,
            }
            for row in ordered
        ]
    )  # fmt: skip
    table = whole_html(frame.set_index("series")) if rows else ""
    figure = _ratios([row for row in ordered if row.metric == "p50"])._repr_html_() if rows else ""
    return plain_page("Two runs compared", f"<h2>Ratios</h2>{figure}<h2>Series by series</h2>{table}", lead=lead)


def _ratios(rows: Sequence[Row]) -> Picture:
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(rows) + 1.2))
    for place, row in enumerate(reversed(rows)):
        axes.plot([row.ci_low, row.ci_high], [place, place], color=COLOURS["treatment"], linewidth=5, alpha=0.35)
        axes.plot(row.ratio, place, "o", color=COLOURS["treatment"])
    axes.axvline(1, color="#111111", linewidth=1)
    axes.set_yticks(range(len(rows)), [row.name for row in reversed(rows)])
    log_axis(axes.xaxis, axes.set_xscale)
    axes.set(xlabel="after / before, p50 (band: 95 % interval)")
    return picture(figure, "Ratios of two runs: " + "; ".join(f"{row.name} {row.ratio:.2f}" for row in rows))
