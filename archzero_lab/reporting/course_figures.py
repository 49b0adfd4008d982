"""Figures of what goes on: staleness, a time line of faults, evidence by block, runs over time, claims over sizes."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter

from archzero_lab.reporting.figures import COLOURS, ON_FIELD, Picture, legend_above, log_axis, picture
from archzero_lab.run_folders.history import RATIO, YARDSTICK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archzero_lab.run_folders.history import ChangePoint

PALETTE = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#CC79A7", "#009E73")


def staleness(late: dict[str, tuple[list[float], int]]) -> Picture:
    """Of each cache (its stale reads' lateness in ms, all its reads): the share of reads staler than a time."""
    figure, axes = plt.subplots(figsize=(8, 3.8))
    said = []
    styles = zip(cycle((*PALETTE, "#000000", "#999999")), cycle(("-", "--", "-.", ":", (0, (5, 1, 1, 1)))))
    for (name, (times, reads)), (colour, style) in zip(late.items(), styles, strict=False):
        # without a stale read there is no line, and a logarithmic axis could not hold it
        ordered = np.sort(np.maximum(np.asarray(times or [np.nan], dtype=float), 0.1))
        share = len(times) / reads
        said.append(f"{name} {share:.3%} stale")
        label = f"{name}: {share:.3%}" if times else f"{name}: none"
        left = (len(ordered) - np.arange(len(ordered))) / reads * 100
        axes.step(ordered, left, color=colour, linestyle=style, linewidth=2, label=label, where="post")
    latest = max((max(times) for times, _ in late.values() if times), default=1_000.0)
    fewest = 100 / max(reads for _, reads in late.values())
    axes.set(xscale="log", yscale="log", xlim=(0.09, max(1_000.0, 1.5 * latest)), ylim=(fewest / 2, 100))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    title = "How stale reads get"
    axes.set(xlabel="read so many ms after the write was acknowledged", ylabel="older, % of reads", title=title)
    legend_above(axes)
    return picture(figure, f"{title}: {'; '.join(said)}")


def time_line(reads: pd.DataFrame, hits: pd.DataFrame, phases: list[tuple[float, float, str | None]]) -> Picture:
    """Latency of each read over time by reader, failures as crosses, the hit rate below, faults shaded and named."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(10, 5.4), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    marks = {"uncached": ("#999999", "no cache"), "cold": ("#009E73", "cold, through the cache")}
    marks["cached"] = ("#0072B2", "hot, through the cache")
    good = reads[reads["status"] == 200]
    failed = reads[(reads["status"] != 200) & reads["reader"].isin(list(marks))]
    above.scatter(
        failed["t_s"], failed["ms"], s=14, marker="x", color="#D55E00", label="refused (503)", rasterized=True
    )
    for reader, (colour, label) in marks.items():
        seen = good[good["reader"] == reader]
        above.scatter(seen["t_s"], seen["ms"], s=3, color=colour, alpha=0.5, label=label, rasterized=True)
    log_axis(above.yaxis, above.set_yscale)
    above.set(ylabel="ms", title="A service loses Redis, then PostgreSQL")
    for began, ended, fault in phases:
        if fault is not None:
            for axes in (above, below):
                axes.axvspan(began, ended, color="#000000", alpha=0.07, linewidth=0)
            name = fault.replace(", ", ",\n").replace(" ", "\n", 1)
            above.text((began + ended) / 2, 0.98, name, transform=above.get_xaxis_transform(), ha="center", va="top",
                       fontsize=8)  # fmt: skip
    below.plot(hits["t_s"], hits["hit_rate"] * 100, color="#0072B2", linewidth=1.2)
    below.set(xlabel="seconds", ylabel="hot reads\nfrom Redis, %", ylim=(-5, 105))
    legend_above(above, columns=4, markerscale=3)
    faults = [fault for _, _, fault in phases if fault]
    return picture(figure, f"reads over {reads['t_s'].max():.0f} s through {', '.join(faults)}; {len(failed)} refused")


def over_time(rows: pd.DataFrame, claim: str, points: Sequence[ChangePoint] = ()) -> Picture:
    """A claim's series over its runs, oldest first: the arms in ms above, the ratio below, change points as lines.

    Beside the arms stands the yardstick: the same little work at every slot, which is the machine's own.
    """
    runs = list(dict.fromkeys(rows["run_id"]))
    place = {run: number for number, run in enumerate(runs)}
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 4.6), sharex=True, layout="constrained")
    several = rows["machine"].nunique() > 1
    for (arm, machine), group in rows.groupby(["arm", "machine"]):
        axes = below if arm == RATIO else above
        x = group["run_id"].map(place)
        colour = "#999999" if arm == YARDSTICK else COLOURS.get(str(arm), "#111111")
        named = "yardstick: the machine itself" if arm == YARDSTICK else str(arm)
        label = f"{named}, machine {machine}" if several else named
        line = "o:" if arm == YARDSTICK else "o-"
        label = "ratio, band: 95 % interval" if arm == RATIO and not several else label
        axes.plot(x, group["value"], line, color=colour, label=label, markersize=4, linewidth=1)
        axes.fill_between(x, group["ci_low"], group["ci_high"], color=colour, alpha=0.15, linewidth=0)
    for point in points:
        if point.claim == claim and point.run_id in place:
            axes = below if "code" in point.what else above
            axes.axvline(place[point.run_id] - 0.5, color="#111111", linestyle=":", linewidth=1.5, label="change point")
    log_axis(above.yaxis, above.set_yscale)
    above.set(ylabel="ms")
    below.set(ylabel=RATIO, xlabel="run, oldest first")
    below.set_xticks(range(len(runs)), [str(number + 1) for number in range(len(runs))])
    legend_above(above, columns=4)
    below.legend(loc="best", fontsize=9)
    return picture(figure, f"{claim} over {len(runs)} runs")


def sweep_lines(cells: pd.DataFrame, title: str) -> Picture:
    """A claim's before and after beside the claimed after: over the number of rows at the least distances, or over the
    distance of PostgreSQL where nobody chose how many rows there are (a size of 0).
    """
    near = cells[cells["redis_ms"] == cells["redis_ms"].min()]
    sized = bool((cells["size"] > 0).all())
    over, what = ("size", "rows") if sized else ("database_ms", "ms to PostgreSQL")
    least = near[near["database_ms"] == near["database_ms"].min()] if sized else near
    least = least.sort_values(over)
    figure, axes = plt.subplots(figsize=(8, 3.4))
    axes.plot(least[over], least["before_ms"], "o-", color=COLOURS["control"], label="before")
    axes.plot(least[over], least["after_ms"], "s-", color=COLOURS["treatment"], label="after")
    bands = [least["before_ms"] * (1 - least[bound]) for bound in ("ci_low", "ci_high")]
    axes.fill_between(least[over], *bands, color=COLOURS["treatment"], alpha=0.2, linewidth=0)
    needed = least["before_ms"] * (1 - least["claimed"])
    axes.plot(least[over], needed, color="#111111", linestyle="--", linewidth=1, label="what the claim needs after")
    log_axis(axes.yaxis, axes.set_yscale)
    if sized:
        axes.set_xscale("log")
        axes.set_xticks(least["size"], [f"{size:,}" for size in least["size"]], minor=False)
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=what, ylabel="median, ms", title=title)
    legend_above(axes)
    said = "; ".join(
        f"{place:,g} {what} {before:.3g} to {after:.3g} ms"
        for place, before, after in zip(least[over], least["before_ms"], least["after_ms"], strict=True)
    )
    return picture(figure, f"{title}: {said}")


def sweep_map(cells: pd.DataFrame, title: str) -> Picture:
    """A claim's verdicts by size and distance of PostgreSQL, a panel a distance of Redis; colour, sign and gain."""
    faces = {"confirmed": "#0072B2", "refuted": "#D55E00", "inconclusive": "#BBBBBB"}
    signs = {"confirmed": "holds", "refuted": "fails", "inconclusive": "?"}
    distances = sorted(cells["redis_ms"].unique())
    sizes, far = sorted(cells["size"].unique()), sorted(cells["database_ms"].unique())
    width = max(8.0, 1.5 * len(sizes) * len(distances) + 1.5)
    figure, panels = plt.subplots(
        1, len(distances), figsize=(width, 0.7 * len(far) + 1.6), squeeze=False, sharey=True, layout="constrained"
    )
    for axes, redis_ms in zip(panels[0], distances, strict=True):
        for row in cells[cells["redis_ms"] == redis_ms].itertuples():
            x, y = sizes.index(row.size), far.index(row.database_ms)
            axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=faces[str(row.verdict)], alpha=0.85))
            dark = row.verdict != "inconclusive"
            axes.text(x, y, f"{signs[str(row.verdict)]}\n{row.improvement:.0%}", ha="center", va="center", fontsize=9,
                      color="#ffffff" if dark else ON_FIELD, gid=f"field-{redis_ms:g}-{x}-{y}")  # fmt: skip
        axes.set_xticks(range(len(sizes)), [f"{size:,}" if size else "all" for size in sizes])
        axes.set_yticks(range(len(far)), [f"{value:g}" for value in far])
        axes.set(xlabel="rows", xlim=(-0.6, len(sizes) - 0.4), ylim=(-0.6, len(far) - 0.4))
        axes.set_title(f"Redis {redis_ms:g} ms away", fontsize=10)
        axes.grid(False)
    panels[0][0].set_ylabel("ms to PostgreSQL")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    counts = cells["verdict"].value_counts()
    return picture(figure, f"{title}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


def evidence_course(course: dict[str, list[float | None]], claimed: float, title: str) -> Picture:
    """The e-process of a claim over its blocks, and its interval of the gain closing in beside the claimed one."""
    blocks = np.arange(1, len(course["e"]) + 1)
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 4.4), sharex=True, layout="constrained")
    above.plot(blocks, course["e"], color=COLOURS["treatment"], linewidth=2, label="evidence")
    above.axhline(20, color="#111111", linestyle="--", linewidth=1, label="decided at 20")
    above.set_yscale("log")
    above.set(ylabel="e value", title=title)
    bounds = [np.array([np.nan if value is None else value * 100 for value in course[key]], dtype=float)
              for key in ("ci_low", "ci_high")]  # fmt: skip
    below.fill_between(blocks, *bounds, color=COLOURS["treatment"], alpha=0.25, linewidth=0)
    below.axhline(claimed * 100, color="#111111", linewidth=1)
    below.set(xlabel="blocks", ylabel="gain, %\n(line: claimed)")
    finite = np.concatenate(bounds)[np.isfinite(np.concatenate(bounds))]
    if finite.size:
        middle = np.nanmedian(finite)
        below.set_ylim(max(finite.min(), middle - 60), min(100.5, finite.max() + 1))
    legend_above(above)
    return picture(figure, f"{title}: e value {course['e'][-1]:.3g} after {len(blocks)} blocks, decided at 20")
