"""One time line of a failover: who leads, what was done to whom, what was answered and refused, how late, how far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from archzero_lab.reporting.figures import ON_FIELD, Picture, legend_above, log_axis, picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

_ROLES = {"leads": "#0072B2", "follows": "#9CCBE8", "away": "#D55E00"}
_PLAIN = FuncFormatter(lambda value, _: f"{value:,.0f}")
_SERVERS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def failover_line(
    line: pd.DataFrame, roles: Mapping[str, Sequence[tuple[float, float, str]]],
    behind: Mapping[str, Sequence[tuple[float, float]]], faults: Sequence[tuple[float, str]],
) -> Picture:  # fmt: skip
    """`roles`: of each server from when to when it was what; `behind`: when, and by how many kB; times in seconds."""
    figure, panels = plt.subplots(
        4, 1, figsize=(10, 8.2), sharex=True, height_ratios=(1.3, 2, 2, 1.3), layout="constrained"
    )
    who, rates, late, far = panels
    for place, parts in enumerate(roles.values()):
        for began, ended, role in parts:
            who.barh(-place, ended - began, left=began, height=0.7, color=_ROLES[role], linewidth=0)
    who.set_yticks([-place for place in range(len(roles))], list(roles))
    who.grid(False)
    who.set_ylim(0.5 - len(roles), 1.3)
    who.set_title("A database changes hands", loc="left")
    who.legend(handles=[Patch(color=colour, label=role) for role, colour in _ROLES.items()], ncols=3,
               loc="lower right", bbox_to_anchor=(1, 1.0), borderaxespad=0.2)  # fmt: skip
    for number, (at, _) in enumerate(faults):
        for axes in panels:
            axes.axvline(at, color="#777777", linewidth=0.8, linestyle=":")
        # in two rows: one fault may follow another at once
        who.text(at, 0.55 + 0.42 * (number % 2), str(number + 1), fontsize=8, ha="center", va="bottom", color=ON_FIELD,
                 bbox={"facecolor": "#EEEEEE", "edgecolor": "none", "pad": 1})  # fmt: skip
    rates.plot(line["t_s"], line["reads"], color="#009E73", linewidth=1.2, label="reads")
    rates.plot(line["t_s"], line["writes"], color="#0072B2", linewidth=1.2, label="writes acknowledged")
    for what, mark in (("refused_reads", "x"), ("refused_writes", "v")):
        refused = line[line[what] > 0]
        rates.plot(refused["t_s"], refused[what], mark, color="#D55E00", markersize=4, label=what.replace("_", " "))
    rates.set_yscale("symlog", linthresh=1)
    rates.yaxis.set_major_formatter(_PLAIN)
    rates.set(ylabel="a second", ylim=(0, None))
    legend_above(rates, columns=4)
    for what, colour in (("write", "#0072B2"), ("read", "#009E73")):
        late.plot(line["t_s"], line[f"{what}_p99_ms"], color=colour, linewidth=1.2, label=f"{what}s, p99")
    log_axis(late.yaxis, late.set_yscale)
    late.set(ylabel="ms")
    legend_above(late, columns=2)
    for (server, points), colour in zip(behind.items(), _SERVERS, strict=False):
        times, kilobytes = np.asarray(list(points), dtype=float).reshape(-1, 2).T
        far.plot(times, kilobytes, ".", color=colour, markersize=2.5, label=server)
    far.set_yscale("symlog", linthresh=1)
    far.yaxis.set_major_formatter(_PLAIN)
    far.set(xlabel="seconds", ylabel="behind, kB", ylim=(0, None))
    legend_above(far, columns=4, markerscale=3)
    step_s = float(line["t_s"].diff().median()) if len(line) > 1 else 1.0
    lost = float(line["refused_writes"].sum() + line["refused_reads"].sum()) * step_s
    named = ", ".join(f"{number + 1} {what}" for number, (_, what) in enumerate(faults[:12]))
    return picture(
        figure, f"A database changes hands: {len(faults)} faults in {line['t_s'].max():.0f} s ({named}),"
        f" {lost:,.0f} requests refused",
    )  # fmt: skip
