"""Figures of a load: its course second by second, what everything used, rate against latency, capacities."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from archzero_lab.reporting.figures import COLOURS, Picture, colour_of, colours_of, legend_above, log_axis, picture

ARM_COLOURS = {**COLOURS, "near": "#56B4E9"}
_LEAST = 5.0
"""Half the least rate that is tried: where nothing held, on a logarithmic axis."""
ARM_MARKS = {"control": "o", "indexes": "s", "cache": "^", "treatment": "D", "near": "v"}
_PROCESSES = {"service": "#0072B2", "postgres": "#D55E00", "redis": "#CC79A7", "locust": "#999999"}
_STYLES = {"service": "-", "postgres": "--", "redis": "-.", "locust": ":"}


def course(seconds: pd.DataFrame, title: str) -> Picture:
    """One load over time: latency bands, requests and failures, hit rate warming up; the warm-up is shaded."""
    figure, (above, middle, below) = plt.subplots(
        3, 1, figsize=(9, 6.4), sharex=True, height_ratios=(3, 1.4, 1.4), layout="constrained"
    )
    t = seconds["t_s"]
    p50, p95, p99 = (seconds[f"response_{name}_s"].astype(float) * 1000 for name in ("p50", "p95", "p99"))
    above.fill_between(t, p50, p99, color="#0072B2", alpha=0.15, linewidth=0, label="p50 to p99")
    above.fill_between(t, p50, p95, color="#0072B2", alpha=0.3, linewidth=0, label="p50 to p95")
    above.plot(t, p50, color="#0072B2", linewidth=1.6, label="p50")
    above.plot(t, seconds["service_p99_s"].astype(float) * 1000, color="#111111", linestyle=":", linewidth=1.2,
               label="service time p99")  # fmt: skip
    log_axis(above.yaxis, above.set_yscale)
    above.set(ylabel="response time, ms", title=title)
    middle.plot(t, seconds["done"], color="#0072B2", linewidth=1.4, label="answered")
    if seconds["offered"].any():
        middle.plot(t, seconds["offered"], color="#111111", linestyle="--", linewidth=1, label="offered")
    bad = seconds["failed"] + seconds["dropped"]
    middle.plot(t, bad, color="#D55E00", linewidth=1.4, label="failed or dropped")
    middle.set(ylabel="a second", ylim=(0, None))
    if "hit_rate" in seconds and seconds["hit_rate"].notna().any():
        below.plot(t, seconds["hit_rate"].astype(float) * 100, color="#009E73", linewidth=1.4, label="hit rate")
        if (seconds["near_share"].fillna(0) > 0).any():
            below.plot(t, seconds["near_share"].astype(float) * 100, color="#CC79A7", linestyle="--", linewidth=1.2,
                       label="from the process")  # fmt: skip
    elif "statements_per_s" in seconds:
        below.plot(t, seconds["statements_per_s"], color="#D55E00", linewidth=1.4, label="statements a second")
    below.set(xlabel="seconds")
    if "hit_rate" in seconds and seconds["hit_rate"].notna().any():
        below.set(ylabel="cache, %", ylim=(0, 102))
    for axes in (above, middle, below):
        warm = seconds.loc[seconds["warm_up"], "t_s"]
        if not warm.empty:
            axes.axvspan(0, float(warm.max()) + 1, color="#000000", alpha=0.06, linewidth=0)
    legend_above(above, columns=4)
    for axes in (middle, below):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, ncols=3, loc="best")
    analysed = seconds[~seconds["warm_up"]]
    said = f"{title}: {int(analysed['done'].sum()):,} answers in {len(analysed)} s, {int(bad.sum())} failed or dropped"
    return picture(figure, said)


def together(arms: dict[str, pd.DataFrame]) -> Picture:
    """Several arms' loads on the same axes: median and p99 of response times, and answers a second, a colour an arm."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(9, 5), sharex=True, height_ratios=(2.4, 1), layout="constrained"
    )
    colours = colours_of(list(arms))
    said, warm_up_s = [], 0.0
    for arm, seconds in arms.items():
        t, colour = seconds["t_s"], ARM_COLOURS.get(arm) or colours.get(arm) or colour_of(arm)
        p50, p99 = (seconds[f"response_{name}_s"].astype(float) * 1000 for name in ("p50", "p99"))
        above.plot(t, p50, color=colour, linewidth=1.8, label=f"{arm}, p50")
        above.plot(t, p99, color=colour, linewidth=1.0, linestyle="--", label=f"{arm}, p99")
        below.plot(t, seconds["done"], color=colour, linewidth=1.4)
        analysed = ~seconds["warm_up"]
        said.append(f"{arm} mostly {p50[analysed].median():.3g} ms, p99 {p99[analysed].median():.3g} ms")
        warm_up_s = max(warm_up_s, float(t[~analysed].max()) + 1 if (~analysed).any() else 0.0)
    log_axis(above.yaxis, above.set_yscale)
    above.set(ylabel="response time, ms", title="All arms")
    below.set(xlabel="seconds", ylabel="answered a second", ylim=(0, None))
    if warm_up_s:
        for axes in (above, below):
            axes.axvspan(0, warm_up_s, color="#000000", alpha=0.06, linewidth=0)
    legend_above(above, columns=4)
    return picture(figure, f"response times second by second: {'; '.join(said)}")


def resources(rows: pd.DataFrame, seconds: pd.DataFrame, title: str) -> Picture:
    """CPU of one core and resident memory of service, PostgreSQL, Redis and Locust, a line each."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    began = float(seconds["at"].min())
    locust = pd.DataFrame(
        {"at": seconds["at"], "process": "locust", "cpu_percent": seconds["generator_cpu_percent"],
         "rss_bytes": seconds["generator_rss_bytes"]}
    )  # fmt: skip
    said = []
    for process, group in pd.concat([rows, locust.dropna()], ignore_index=True).groupby("process", sort=False):
        name = str(process)
        t = group["at"] - began
        style = {"color": _PROCESSES.get(name, "#111111"), "linestyle": _STYLES.get(name, "-"), "linewidth": 1.4}
        left.plot(t, group["cpu_percent"], label=name, **style)
        right.plot(t, group["rss_bytes"].astype(float) / 1e6, label=name, **style)
        said.append(f"{name} {group['cpu_percent'].mean():.0f} %")
    left.set(xlabel="seconds", ylabel="CPU, % of a core", ylim=(0, None), title=title)
    right.set(xlabel="seconds", ylabel="resident, MB", ylim=(0, None))
    legend_above(left, columns=4)
    return picture(figure, f"{title}: mean CPU {', '.join(said)}")


def rate_curves(trials: pd.DataFrame, target_ms: float) -> Picture:
    """Answered rate and p99 against the offered rate, an arm a colour; filled marks held the target, open did not."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    said = []
    for arm, group in trials.groupby("arm", sort=False):
        name = str(arm)
        colour, mark = ARM_COLOURS.get(name, "#111111"), ARM_MARKS.get(name, "o")
        for axes, values in ((left, group["achieved_rate_per_s"]), (right, group["p99_s"].astype(float) * 1000)):
            held = group["held"].astype(bool)
            axes.scatter(group.loc[held, "rate_per_s"], values[held], color=colour, marker=mark, s=26, label=name)
            axes.scatter(group.loc[~held, "rate_per_s"], values[~held], facecolors="none", edgecolors=colour,
                         marker=mark, s=26)  # fmt: skip
        best = group.loc[group["held"].astype(bool), "achieved_rate_per_s"].max()
        said.append(f"{name} held up to {best:.0f} a second" if best == best else f"{name} held at none")
    ends = [trials["rate_per_s"].min(), trials["rate_per_s"].max()]
    left.plot(ends, ends, color="#999999", linewidth=0.8, zorder=0)
    right.axhline(target_ms, color="#111111", linestyle="--", linewidth=1)
    for axes in (left, right):
        log_axis(axes.xaxis, axes.set_xscale)
        log_axis(axes.yaxis, axes.set_yscale)
        axes.set_xlabel("offered, requests a second")
    left.set(ylabel="answered a second", title="Throughput and p99 (open marks: missed the target)")
    right.set(ylabel=f"p99, ms (line: target {target_ms:g})")
    legend_above(left, columns=5)
    return picture(figure, f"answered rate and p99 against offered rate: {'; '.join(said)}")


def capacities(arms: list[dict[str, Any]]) -> Picture:
    """The capacity of each arm with its interval, and the rounds it comes from."""
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(arms) + 1.3))
    said = []
    for row, entry in enumerate(reversed(arms)):
        capacity = entry["capacity"]
        colour = ARM_COLOURS.get(entry["arm"], "#111111")
        shown = max(capacity["rate_per_s"], _LEAST)
        if capacity["ci_low"] is not None:
            band = [max(capacity["ci_low"], _LEAST), capacity["ci_high"]]
            axes.plot(band, [row, row], color=colour, linewidth=7, alpha=0.35, solid_capstyle="butt")
        rounds = np.maximum(np.asarray(capacity["rounds"], dtype=float), _LEAST)
        axes.plot(rounds, np.full(rounds.size, row), "|", color=colour, markersize=12)
        axes.plot([shown], [row], "o", color=colour)
        label = (
            f" {capacity['rate_per_s']:.0f}/s" if capacity["rate_per_s"] >= 2 * _LEAST else f" under {2 * _LEAST:.0f}/s"
        )
        axes.annotate(label, (max(shown, capacity["ci_high"] or 0), row), va="center", xytext=(6, 0),
                      textcoords="offset points", fontsize=9)  # fmt: skip
        said.append(f"{entry['arm']}{label}")
    axes.set_yticks(range(len(arms)), [entry["arm"] for entry in reversed(arms)])
    log_axis(axes.xaxis, axes.set_xscale)
    low, high = axes.get_xlim()
    axes.set(xlabel="requests a second (dot: estimate, band: 95 % interval, ticks: rounds)", xlim=(low, high * 2.5),
             ylim=(-0.6, len(arms) - 0.4))  # fmt: skip
    return picture(figure, "capacity: " + "; ".join(said))
