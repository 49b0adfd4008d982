"""Figures: SVG with alternative text, in colours that a colour-blind reader can tell apart, no network."""

from __future__ import annotations

import html
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg", force=False)
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from archzero_lab.reporting.plotted import as_csv, download_link, mark_axes, mark_points, places_of, with_hints

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

# Okabe & Ito's palette: distinct under every common colour blindness
COLOURS = {
    "control": "#D55E00", "treatment": "#0072B2", "indexes": "#009E73", "cache": "#CC79A7", "v2": "#E69F00",
    "v2-cache": "#56B4E9", "near": "#000000", "statement-cache": "#999999",
}  # fmt: skip
_OTHERS = ("#56B4E9", "#000000", "#F0E442", "#999999")


def colour_of(arm: str) -> str:
    """An arm's colour: the same in every figure, whatever arms a system has."""
    return COLOURS.get(arm) or _OTHERS[sum(arm.encode()) % len(_OTHERS)]


def colours_of(arms: Sequence[str]) -> dict[str, str]:
    """The colours of arms that are compared, control first: of a system whose arms we do not know, by their places."""
    if any(arm in COLOURS for arm in arms):
        return {arm: colour_of(arm) for arm in arms}
    return dict(zip(arms, [COLOURS["control"], COLOURS["treatment"], *_OTHERS], strict=False))


ON_FIELD = "#101010"
"""Text on a field of its own colour: the same by day and by night, where all else that is dark turns light."""
_NARROW = 4.0
_LEAST_PX = 9.2
"""Of a text on the screen; below nine it is guessed, not read."""

plt.rcParams.update(
    {
        "svg.fonttype": "none",
        "text.parse_math": False,  # a name with $ in it is a name
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
    numbers: str = ""
    """What it shows as CSV; see reporting.plotted."""

    def _repr_html_(self) -> str:
        # on a narrow screen it scrolls: whoever has no mouse comes to it by its link, or by itself
        link = download_link(self.numbers, self.alt.partition(":")[0]) if self.numbers else ""
        reached, caption = ("", f"<figcaption>{link}</figcaption>") if link else (' tabindex="0"', "")
        return (
            f'<figure style="margin:16px 0;max-width:900px"{reached}>'
            f'<div role="img" aria-label="{html.escape(self.alt)}">{self.svg}</div>{caption}</figure>'
        )

    def __repr__(self) -> str:
        return f"figure: {self.alt}"


@dataclass(frozen=True)
class Pictures:
    """Several figures, one below the other."""

    pictures: tuple[Picture, ...]

    def _repr_html_(self) -> str:
        return "".join(picture._repr_html_() for picture in self.pictures)

    def __repr__(self) -> str:
        return "; ".join(map(repr, self.pictures))


def picture(figure: Figure, alt: str) -> Picture:
    """A figure as inline SVG that scales with its page; the figure is closed."""
    numbers, hints, axes = as_csv(figure), mark_points(figure), mark_axes(figure)
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None}, transparent=True
    )
    plt.close(figure)
    text, places = places_of(with_hints(buffer.getvalue(), hints), axes)
    svg = text[text.index("<svg") :]
    head, rest = svg.split(">", 1)
    kept = " ".join(part for part in head.split(" ") if not part.startswith(("width=", "height=")))
    # what is black in it has the colour of the text around it, by day and by night; texts have no colour of their own
    rest = re.sub("#(?:000000|111111)", "currentColor", rest)
    least = f"min-width:{_least_width(text):.0f}px"
    style = f"width:100%;{least};height:auto;fill:currentColor"
    return Picture(f'{kept} data-axes="{html.escape(places)}" style="{style}">{rest}', alt, numbers)


def _least_width(svg: str) -> float:
    """The width in px at which the smallest text can be read; on a narrower screen the figure scrolls by itself."""
    box = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: [^;\"]*?([\d.]+)px", svg)]
    return float(box[1]) * _LEAST_PX / min(sizes) if box and sizes else 0.0


def log_axis(axis: Any, set_scale: Any) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 of each decade."""
    set_scale("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend_above(axes: Any, columns: int = 3, markerscale: float = 1.0) -> None:
    """The legend in a line over the plot, where it covers no data, and the title over that."""
    legend = axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2, fontsize=9, markerscale=markerscale
    )
    lines = -(-len(legend.get_texts()) // columns)
    title = axes.get_title()
    axes.set_title("")  # the one in the middle
    axes.set_title(title, loc="left", pad=12 + 14 * lines, fontweight="bold", fontsize=11)


def percentile_curves(samples: pd.DataFrame, title: str, names: Mapping[str, str] | None = None) -> Picture:
    """Service time by share of requests, an arm a line, on a logarithmic scale; `samples` of one claim."""
    figure, axes = plt.subplots(figsize=(8, 3.6))
    said = []
    for arm, group in samples.groupby("arm"):
        times = np.sort(group["service_time_s"].to_numpy()) * 1000
        shares = (np.arange(times.size) + 0.5) / times.size * 100
        axes.plot(shares, times, color=colour_of(str(arm)), label=(names or {}).get(str(arm), str(arm)), linewidth=2)
        said.append(f"{arm} median {np.median(times):.3g} ms")
    log_axis(axes.yaxis, axes.set_yscale)
    axes.set(
        xlabel="share of requests answered within that time, %", ylabel="service time, ms", title=title, xlim=(0, 100)
    )
    legend_above(axes)
    return picture(figure, f"{title}: {'; '.join(said)}")


def paired_blocks(
    table: pd.DataFrame, title: str, what: str, claimed: float | None = None, names: Mapping[str, str] | None = None
) -> Picture:
    """A metric of each block (a row a block, an arm a column) for its arms, joined: what the verdict is made of.

    `names` are what the arms are called beside their colours.
    """
    figure, axes = plt.subplots(figsize=(8, 3.6))
    arms = list(table.columns)
    axes.vlines(table.index, table.min(axis=1), table.max(axis=1), color="#999999", linewidth=0.8, zorder=1)
    for arm, colour in colours_of(arms).items():
        axes.scatter(table.index, table[arm], color=colour, label=(names or {}).get(arm, arm), zorder=2, s=28)
    if claimed:
        axes.axhline(claimed, color="#111111", linestyle="--", linewidth=1, label=f"claimed after: {claimed:g}")
    values = table.to_numpy()
    if values.max() > _NARROW * values.min():  # else a decade's few marks would leave the axis without numbers
        log_axis(axes.yaxis, axes.set_yscale)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no block 2.5
    axes.set(xlabel="block", ylabel=what, title=title)
    legend_above(axes)
    return picture(figure, f"{title}: {len(table)} paired blocks for {', '.join(arms)}")


def by_variant(samples: pd.DataFrame, title: str, names: Mapping[str, str] | None = None) -> Picture:
    """Median service time of each variant of a kind of request, an arm a bar."""
    medians = (samples.groupby(["variant", "arm"])["service_time_s"].median().unstack("arm") * 1000).sort_index()
    figure, axes = plt.subplots(figsize=(8, 0.28 * len(medians) * len(medians.columns) + 1.4))
    arms = len(medians.columns)
    height = 0.76 / arms
    for place, arm in enumerate(medians.columns):
        positions = np.arange(len(medians)) + (place - (arms - 1) / 2) * height
        label = (names or {}).get(str(arm), str(arm))
        bars = axes.barh(positions, medians[arm], height, color=colour_of(str(arm)), label=label)
        axes.bar_label(bars, [f" {value:.3g}" for value in medians[arm]], fontsize=8)
    axes.set_yticks(np.arange(len(medians)), [str(variant).split(":")[-1] for variant in medians.index])
    axes.invert_yaxis()
    log_axis(axes.xaxis, axes.set_xscale)
    axes.set(xlabel="median service time, ms", title=title)
    legend_above(axes)
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


def statements_by_size(counts: Mapping[str, Mapping[int, int]]) -> Picture:
    """Statements of each endpoint by number of items, ring around ring; a query in a loop tears them apart.

    A logarithmic scale where one of them does, as a hundred statements would press the others together.
    """
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(counts) + 1.2))
    sizes = list(next(iter(counts.values())))
    for at, size in enumerate(sizes):
        axes.scatter(
            [of_size[size] for of_size in counts.values()], range(len(counts)), s=30 * (1 + 2 * at) ** 1.4,
            facecolors="none", edgecolors=_RINGS[at % len(_RINGS)], linewidths=1.8,
            label="1 item" if size == 1 else f"{size} items",
        )  # fmt: skip
    top = max(max(of_size.values()) for of_size in counts.values())
    if top > 2 * max(min(of_size.values()) for of_size in counts.values()):
        log_axis(axes.xaxis, axes.set_xscale)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0, top + 1)
    axes.set_yticks(range(len(counts)), list(counts))
    axes.set(xlabel="statements", title="Statements by number of items", ylim=(len(counts) - 0.4, -0.6))
    legend_above(axes, columns=3)
    return picture(figure, "; ".join(f"{name} {list(of_size.values())}" for name, of_size in counts.items()))


_RINGS = ("#0072B2", "#E69F00", "#009E73")


def hit_rate_by_block(slots: pd.DataFrame, claimed: tuple[float, float]) -> Picture:
    """Hit rate of each measured slot of the treatment, the claimed range as a band."""
    figure, axes = plt.subplots(figsize=(8, 3.2))
    rate = slots["hits"] / (slots["hits"] + slots["misses"]) * 100
    axes.axhspan(claimed[0] * 100, claimed[1] * 100, color="#999999", alpha=0.25, label="claimed")
    axes.plot(slots["block"], rate, "o-", color=COLOURS["treatment"], label="measured")
    axes.set(xlabel="block", ylabel="hit rate, %", ylim=(0, 100), title="Cache hit rate under the mix")
    legend_above(axes)
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
