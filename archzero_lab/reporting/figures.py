"""Figures: SVG with alternative text, in colours that a colour-blind reader can tell apart, no network."""

from __future__ import annotations

import html
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg", force=False)
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from archzero_lab.reporting.history import ChangePoint

# Okabe & Ito's palette: distinct under every common colour blindness
COLOURS = {"control": "#D55E00", "treatment": "#0072B2", "indexes": "#009E73", "cache": "#CC79A7"}
PALETTE = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#CC79A7", "#009E73")
NAMES = {
    "control": "control (no index, no cache)",
    "treatment": "treatment (indexes and cache)",
    "indexes": "indexes (no cache)",
    "cache": "cache (no index)",
}

plt.rcParams.update(
    {
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
    }
)


@dataclass(frozen=True)
class Picture:
    """A drawn figure: shows itself in a notebook and in a page, and says in words what it shows."""

    svg: str
    alt: str

    def _repr_html_(self) -> str:
        return (
            f'<figure role="img" aria-label="{html.escape(self.alt)}" '
            'style="margin:0;background:#fff;color:#111;padding:8px;max-width:900px">'
            f"{self.svg}</figure>"
        )

    def __repr__(self) -> str:
        return f"figure: {self.alt}"


def picture(figure: Figure, alt: str) -> Picture:
    """A figure as inline SVG that scales with its page; the figure is closed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = buffer.getvalue()
    svg = text[text.index("<svg") :]
    head, rest = svg.split(">", 1)
    kept = " ".join(part for part in head.split(" ") if not part.startswith(("width=", "height=")))
    return Picture(f'{kept} style="width:100%;height:auto">{rest}', alt)


def _log_axis(axis: Any, set_scale: Any) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 of each decade."""
    set_scale("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend_above(axes: Any, columns: int = 3, markerscale: float = 1.0) -> None:
    """The legend in a line over the plot, where it covers no data, and the title over that."""
    legend = axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2, fontsize=9, markerscale=markerscale
    )
    lines = -(-len(legend.get_texts()) // columns)
    title = axes.get_title()
    axes.set_title("")  # the one in the middle
    axes.set_title(title, loc="left", pad=12 + 14 * lines, fontweight="bold", fontsize=11)


def percentile_curves(samples: pd.DataFrame, title: str) -> Picture:
    """Service time by share of requests, an arm a line, on a logarithmic scale; `samples` of one claim."""
    figure, axes = plt.subplots(figsize=(8, 3.6))
    said = []
    for arm, group in samples.groupby("arm"):
        times = np.sort(group["service_time_s"].to_numpy()) * 1000
        shares = (np.arange(times.size) + 0.5) / times.size * 100
        axes.plot(shares, times, color=COLOURS[str(arm)], label=NAMES[str(arm)], linewidth=2)
        said.append(f"{arm} median {np.median(times):.3g} ms")
    _log_axis(axes.yaxis, axes.set_yscale)
    axes.set(
        xlabel="share of requests answered within that time, %", ylabel="service time, ms", title=title, xlim=(0, 100)
    )
    _legend_above(axes)
    return picture(figure, f"{title}: {'; '.join(said)}")


def paired_blocks(samples: pd.DataFrame, title: str, claimed_ms: float | None = None) -> Picture:
    """The median of each block for both arms, joined: what the verdict is made of."""
    medians = samples.groupby(["block", "arm"])["service_time_s"].median().unstack("arm") * 1000
    figure, axes = plt.subplots(figsize=(8, 3.6))
    arms = list(medians.columns)
    axes.vlines(medians.index, medians.min(axis=1), medians.max(axis=1), color="#999999", linewidth=0.8, zorder=1)
    for arm in arms:
        axes.scatter(medians.index, medians[arm], color=COLOURS[arm], label=NAMES[arm], zorder=2, s=28)
    if claimed_ms is not None:
        axes.axhline(
            claimed_ms, color="#111111", linestyle="--", linewidth=1, label=f"claimed after: {claimed_ms:g} ms"
        )
    _log_axis(axes.yaxis, axes.set_yscale)
    axes.set(xlabel="block", ylabel="median of the slot, ms", title=title)
    _legend_above(axes)
    return picture(figure, f"{title}: medians of {len(medians)} paired blocks for {' and '.join(arms)}")


def improvements(claims: list[dict[str, Any]]) -> Picture:
    """Every claim of a lower latency: the claimed gain as a mark, the measured one with its interval."""
    shown = [claim for claim in claims if claim["claimed"]["improvement"] is not None]
    figure, axes = plt.subplots(figsize=(8, 0.7 * len(shown) + 1.2))
    said = []
    for row, claim in enumerate(reversed(shown)):
        measured = claim["measured"]
        low, high, value = (measured[key] * 100 for key in ("ci_low", "ci_high", "improvement"))
        axes.plot([low, high], [row, row], color=COLOURS["treatment"], linewidth=6, alpha=0.35, solid_capstyle="butt")
        axes.plot([value], [row], "o", color=COLOURS["treatment"])
        axes.plot(
            [claim["claimed"]["improvement"] * 100], [row], "|", color="#111111", markersize=22, markeredgewidth=2
        )
        said.append(f"{claim['title']} {value:.1f} % of claimed {claim['claimed']['improvement'] * 100:g} %")
    axes.set_yticks(range(len(shown)), [claim["title"] for claim in reversed(shown)])
    axes.set(xlabel="less time, % (dot: measured, band: 95 % interval, bar: claimed)")
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.axvline(0, color="#666666", linewidth=0.8)
    return picture(figure, "; ".join(said) or "no latency claim measured")


def by_variant(samples: pd.DataFrame, title: str) -> Picture:
    """Median service time of each variant of a kind of request, an arm a bar."""
    medians = (samples.groupby(["variant", "arm"])["service_time_s"].median().unstack("arm") * 1000).sort_index()
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(medians) + 1.4))
    height = 0.38
    for place, arm in enumerate(medians.columns):
        positions = np.arange(len(medians)) + (place - 0.5) * height
        bars = axes.barh(positions, medians[arm], height, color=COLOURS[arm], label=NAMES[arm])
        axes.bar_label(bars, [f" {value:.3g}" for value in medians[arm]], fontsize=8)
    axes.set_yticks(np.arange(len(medians)), [str(variant).split(":")[-1] for variant in medians.index])
    axes.invert_yaxis()
    _log_axis(axes.xaxis, axes.set_xscale)
    axes.set(xlabel="median service time, ms", title=title)
    _legend_above(axes)
    return picture(figure, f"{title}: medians of {', '.join(map(str, medians.index))}")


def index_bars(sizes: pd.DataFrame, title: str) -> Picture:
    """Size of each index; hatched where the run's workload never read it. Columns: name, mb, scans."""
    ordered = sizes.sort_values("mb")
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(ordered) + 1.2))
    for row, (_, index) in enumerate(ordered.iterrows()):
        used = index["scans"] > 0
        axes.barh(row, index["mb"], color=COLOURS["treatment"] if used else "#ffffff", edgecolor=COLOURS["treatment"],
                  hatch=None if used else "////")  # fmt: skip
    axes.set_yticks(range(len(ordered)), ordered["name"])
    axes.set(xlabel="size, MB (hatched: not read once by this run's workload)", title=title)
    unused = int((ordered["scans"] == 0).sum())
    return picture(
        figure, f"{title}: {ordered['mb'].sum():.1f} MB in {len(ordered)} indexes, {unused} of them not read"
    )


def hit_rate_by_block(slots: pd.DataFrame, claimed: tuple[float, float]) -> Picture:
    """Hit rate of each measured slot of the treatment, the claimed range as a band."""
    figure, axes = plt.subplots(figsize=(8, 3.2))
    rate = slots["hits"] / (slots["hits"] + slots["misses"]) * 100
    axes.axhspan(claimed[0] * 100, claimed[1] * 100, color="#999999", alpha=0.25, label="claimed")
    axes.plot(slots["block"], rate, "o-", color=COLOURS["treatment"], label="measured")
    axes.set(xlabel="block", ylabel="hit rate, %", ylim=(0, 100), title="Cache hit rate under the mix")
    _legend_above(axes)
    return picture(
        figure, f"hit rate by block, median {rate.median():.1f} %, claimed {claimed[0]:.0%} to {claimed[1]:.0%}"
    )


def memory_by_block(slots: pd.DataFrame) -> Picture:
    """Redis memory and number of keys at the end of each measured slot of the treatment."""
    figure, axes = plt.subplots(figsize=(8, 3.2))
    axes.plot(slots["block"], slots["used_memory_mb"], "o-", color=COLOURS["treatment"])
    axes.set(
        xlabel="block",
        ylabel="used_memory, MB",
        ylim=(0, slots["used_memory_mb"].max() * 1.1),
        title="Redis memory under the mix",
    )
    return picture(figure, f"Redis memory by block, at the end {slots['used_memory_mb'].iloc[-1]:.1f} MB")


def staleness(late: dict[str, tuple[list[float], int]]) -> Picture:
    """Of each cache (its stale reads' lateness in ms, all its reads): the share of reads staler than a time."""
    figure, axes = plt.subplots(figsize=(8, 3.8))
    said = []
    styles = zip(PALETTE, ("-", "--", "-.", ":", (0, (5, 1, 1, 1))), strict=False)
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
    _legend_above(axes)
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
    _log_axis(above.yaxis, above.set_yscale)
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
    _legend_above(above, columns=4, markerscale=3)
    faults = [fault for _, _, fault in phases if fault]
    return picture(figure, f"reads over {reads['t_s'].max():.0f} s through {', '.join(faults)}; {len(failed)} refused")


def over_time(rows: pd.DataFrame, title: str, points: Sequence[ChangePoint] = ()) -> Picture:
    """A claim's series over its runs, oldest first: the arms in ms above, the ratio below, change points as lines."""
    runs = list(dict.fromkeys(rows["run_id"]))
    place = {run: number for number, run in enumerate(runs)}
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 4.6), sharex=True, layout="constrained")
    for (arm, machine), group in rows.groupby(["arm", "machine"]):
        axes = below if arm not in COLOURS else above
        x = group["run_id"].map(place)
        colour = COLOURS.get(str(arm), "#111111")
        label = f"{arm}, machine {machine}"
        axes.plot(x, group["value"], "o-", color=colour, label=label, markersize=4, linewidth=1)
        axes.fill_between(x, group["ci_low"], group["ci_high"], color=colour, alpha=0.15, linewidth=0)
    for point in points:
        if point.claim == title and point.run_id in place:
            axes = below if "code" in point.what else above
            axes.axvline(place[point.run_id] - 0.5, color="#111111", linestyle=":", linewidth=1.5)
    _log_axis(above.yaxis, above.set_yscale)
    above.set(ylabel="ms", title=title)
    below.set(ylabel="treatment / control", xlabel="run, oldest first")
    below.set_xticks(range(len(runs)), [str(number + 1) for number in range(len(runs))])
    _legend_above(above, columns=2)
    return picture(figure, f"{title} over {len(runs)} runs")


def sweep_lines(cells: pd.DataFrame, title: str) -> Picture:
    """A claim's before and after over the number of cards, at the least distances, beside the claimed after."""
    least = cells[(cells["database_ms"] == cells["database_ms"].min()) & (cells["redis_ms"] == cells["redis_ms"].min())]
    least = least.sort_values("cards")
    figure, axes = plt.subplots(figsize=(8, 3.4))
    axes.plot(least["cards"], least["before_ms"], "o-", color=COLOURS["control"], label="before")
    axes.plot(least["cards"], least["after_ms"], "s-", color=COLOURS["treatment"], label="after")
    bands = [least["before_ms"] * (1 - least[bound]) for bound in ("ci_low", "ci_high")]
    axes.fill_between(least["cards"], *bands, color=COLOURS["treatment"], alpha=0.2, linewidth=0)
    needed = least["before_ms"] * (1 - least["claimed"])
    axes.plot(least["cards"], needed, color="#111111", linestyle="--", linewidth=1, label="what the claim needs after")
    _log_axis(axes.yaxis, axes.set_yscale)
    axes.set_xscale("log")
    axes.set_xticks(least["cards"], [f"{cards:,}" for cards in least["cards"]], minor=False)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="cards", ylabel="median, ms", title=title)
    _legend_above(axes)
    said = "; ".join(f"{row.cards:,} cards {row.before_ms:.3g} to {row.after_ms:.3g} ms" for row in least.itertuples())
    return picture(figure, f"{title}: {said}")


def sweep_map(cells: pd.DataFrame, title: str) -> Picture:
    """A claim's verdicts by size and distance of PostgreSQL, a panel a distance of Redis; colour, sign and gain."""
    faces = {"confirmed": "#0072B2", "refuted": "#D55E00", "inconclusive": "#BBBBBB"}
    signs = {"confirmed": "holds", "refuted": "fails", "inconclusive": "?"}
    distances = sorted(cells["redis_ms"].unique())
    sizes, far = sorted(cells["cards"].unique()), sorted(cells["database_ms"].unique())
    width = max(8.0, 1.5 * len(sizes) * len(distances) + 1.5)
    figure, panels = plt.subplots(
        1, len(distances), figsize=(width, 0.7 * len(far) + 1.6), squeeze=False, sharey=True, layout="constrained"
    )
    for axes, redis_ms in zip(panels[0], distances, strict=True):
        for row in cells[cells["redis_ms"] == redis_ms].itertuples():
            x, y = sizes.index(row.cards), far.index(row.database_ms)
            axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=faces[str(row.verdict)], alpha=0.85))
            dark = row.verdict != "inconclusive"
            axes.text(x, y, f"{signs[str(row.verdict)]}\n{row.improvement:.0%}", ha="center", va="center", fontsize=9,
                      color="#ffffff" if dark else "#111111")  # fmt: skip
        axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
        axes.set_yticks(range(len(far)), [f"{value:g}" for value in far])
        axes.set(xlabel="cards", xlim=(-0.6, len(sizes) - 0.4), ylim=(-0.6, len(far) - 0.4))
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
    _legend_above(above)
    return picture(figure, f"{title}: e value {course['e'][-1]:.3g} after {len(blocks)} blocks, decided at 20")
