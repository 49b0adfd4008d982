"""The index experiment as sentences, tables and figures: what each index saves, what it costs, what to do with it."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from archzero_lab.jobs.indexes.verdict import KEPT, IndexVerdict
from archzero_lab.reporting.figures import Picture, legend_above, log_axis, picture

_COLOURS = {
    IndexVerdict.KEEP: "#0072B2", IndexVerdict.KEEP_CONSTRAINT: "#56B4E9",
    IndexVerdict.KEEP_NEEDED: "#009E73", IndexVerdict.UNDECIDED: "#999999",
    IndexVerdict.TOO_DEAR: "#E69F00", IndexVerdict.DROP_SUBSUMED: "#CC79A7", IndexVerdict.DROP_UNUSED: "#D55E00",
}  # fmt: skip


_ORDER = tuple(IndexVerdict)


def _by_verdict(finding: dict[str, Any]) -> tuple[bool, int, float]:
    """What is to be dropped first, the largest first of each verdict."""
    verdict = IndexVerdict(finding["verdict"])
    return verdict in KEPT, _ORDER.index(verdict), -finding["bytes"]


def in_order(experiment: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings, those to be dropped first."""
    return sorted(experiment["findings"], key=_by_verdict)


def verdicts(experiment: dict[str, Any]) -> pd.DataFrame:
    """A row an index, those to be dropped first: why, its table and size, how many of the statements read it."""
    return pd.DataFrame.from_dict(
        {
            finding["name"]: {
                "verdict": finding["verdict"],
                "why": finding["why"],
                "table": finding["table"],
                "MB": round(finding["bytes"] / 1e6, 2),
                "used by": len(finding["used_by"]),
            }
            | ({"partitions": finding["partitions"]} if finding.get("partitions") else {})
            for finding in in_order(experiment)
        },
        orient="index",
    )


def costs(experiment: dict[str, Any]) -> pd.DataFrame:
    """A row an index: seconds to build, what it adds to the insert of a row, the reads a write from which it pays.

    That write is the dearer of an insert and an update.
    """
    rows = {}
    for finding in experiment["findings"]:
        rows[finding["name"]] = {"build s": finding["build_s"]}
        if (cost := finding["cost"]) is not None:
            rows[finding["name"]] |= {
                "µs an insert": cost["ms"] * 1000,
                "from": cost["ci_low"] * 1000,
                "to (95 %)": cost["ci_high"] * 1000,
                "WAL records": cost["wal_records"],
                "WAL bytes": cost["wal_bytes"],
                "pays above reads a write": finding["reads_a_write"],
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def updates(experiment: dict[str, Any]) -> pd.DataFrame:
    """A row an index: what it adds to an update of a column that it reads, and the heap-only updates that it ends."""
    rows = {}
    for finding in experiment["findings"]:
        cost = finding["cost"]
        if cost is None or cost["update"] is None:
            continue
        update = cost["update"]
        rows[finding["name"]] = {
            "update of": update["column"],
            "µs an update": update["ms"] * 1000,
            "from": update["ci_low"] * 1000,
            "to (95 %)": update["ci_high"] * 1000,
            "WAL records": update["wal_records"],
            "WAL bytes": update["wal_bytes"],
            "HOT % without": 100 * update["hot_without"],
            "HOT % with": 100 * update["hot"],
            "alone ends HOT of": ", ".join(cost["hot_lost"]),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def statements(experiment: dict[str, Any]) -> pd.DataFrame:
    """A row a statement: its time with all of the indexes, with none, with those alone that are to be kept; paired."""
    kept = {loss["statement"]: loss for loss in experiment["without_dropped"]}
    rows = {}
    for loss in experiment["whole"]:
        name = loss["statement"]
        rows[name] = {
            "with ms": loss["with_ms"],
            "without ms": loss["without_ms"],
            "without / with": loss["ratio"],
            "ci_low": loss["ci_low"],
            "ci_high": loss["ci_high"],
        }
        if name in kept:
            rows[name] |= {
                "kept alone / with": kept[name]["ratio"],
                "kept ci_low": kept[name]["ci_low"],
                "kept ci_high": kept[name]["ci_high"],
            }
    return pd.DataFrame(rows).T.astype(float).round(3)


def writes(experiment: dict[str, Any]) -> pd.DataFrame:
    """A row a write and set of indexes (all, none, kept): rows a second, how much faster (paired), WAL, HOT share."""
    rows = {}
    for rate in experiment["writes"]:
        write = f"{rate['table']}: " + (f"update of {rate['column']}" if rate["column"] else "insert")
        for name in ("all", "none", "kept"):
            times, low, high = rate["times"].get(name, (None, None, None))
            rows[write, name] = {
                "rows/s": rate["rows_per_s"][name],
                "times as fast": times,
                "from": low,
                "to (95 %)": high,
                "WAL records a row": rate["wal_records"][name],
                "WAL bytes a row": rate["wal_bytes"][name],
                "HOT %": 100 * rate["hot"][name] if rate["column"] else None,
            }
    frame = pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(list(rows), names=["write", "indexes"]))
    return frame.astype(float)


def plans(experiment: dict[str, Any]) -> pd.DataFrame:
    """A row a statement: how it is read with and without the indexes, and by its generic plan where that differs.

    The generic plan knows no values; a prepared statement may get it from its sixth run on.
    """
    rows = {}
    for plan in experiment["plans"]:
        generic = plan["generic"]
        same = "the same as with" if generic == plan["with_indexes"] else generic
        rows[plan["statement"]] = {"with": plan["with_indexes"], "without": plan["without"], "generic plan": same}
    return pd.DataFrame.from_dict(rows, orient="index")


def check(experiment: dict[str, Any]) -> str:
    """Whether the verdicts hold together: what statements lose once everything to be dropped is gone, in a sentence."""
    slower = experiment["slower_without_dropped"]
    if not experiment["without_dropped"]:
        return "Nothing is to be dropped"
    whole = len(experiment["without_dropped"])
    if not slower:
        return f"With only the kept indexes, none of the {whole} statements is slower"
    return f"With only the kept indexes, {len(slower)} of {whole} statements are slower: {', '.join(slower)}"


def weight(experiment: dict[str, Any]) -> str:
    """What the indexes weigh, and what those that are to be kept do."""
    return f"{experiment['bytes'] / 1e6:.1f} MB, of which {experiment['kept_bytes'] / 1e6:.1f} MB in those to keep"


def bars(experiment: dict[str, Any]) -> Picture:
    """Size of each index, in the colour of its verdict; the whole and what would be kept in the title."""
    ordered = sorted(experiment["findings"], key=lambda finding: finding["bytes"])
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(ordered) + 1.4))
    seen: set[str] = set()
    for row, finding in enumerate(ordered):
        verdict = finding["verdict"]
        axes.barh(row, finding["bytes"] / 1e6, color=_COLOURS[IndexVerdict(verdict)],
                  label=None if verdict in seen else verdict)  # fmt: skip
        seen.add(verdict)
    axes.set_yticks(range(len(ordered)), [finding["name"] for finding in ordered])
    axes.set(xlabel="size, MB", title="What each index weighs, and what to do with it")
    legend_above(axes)
    return picture(
        figure,
        f"{len(ordered)} indexes, {weight(experiment)}",
    )


def gain_bars(experiment: dict[str, Any]) -> Picture:
    """Each statement without the indexes over with them, its interval, on a log scale: right of 1 they help."""
    losses = sorted(experiment["whole"], key=lambda loss: loss["ratio"])
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(losses) + 1.4))
    for row, loss in enumerate(losses):
        axes.plot([loss["ci_low"], loss["ci_high"]], [row, row], color="#0072B2", linewidth=5, alpha=0.35)
        axes.plot(loss["ratio"], row, "o", color="#0072B2")
    axes.axvline(1, color="#111111", linewidth=1)
    axes.set_yticks(range(len(losses)), [loss["statement"] for loss in losses])
    log_axis(axes.xaxis, axes.set_xscale)
    axes.set(
        xlabel="times as long without the migration's indexes", title="What the statements lose without all of them"
    )
    return picture(figure, "; ".join(f"{loss['statement']} {loss['ratio']:.2f}" for loss in losses))


def answer(experiment: dict[str, Any]) -> str:
    """What to do with the indexes and what that saves, in a sentence."""
    groups = {"keep": 0, "drop": 0, "undecided": 0}
    for finding in experiment["findings"]:
        verdict = IndexVerdict(finding["verdict"])
        group = "undecided" if verdict is IndexVerdict.UNDECIDED else "keep" if verdict in KEPT else "drop"
        groups[group] += 1
    said = ", ".join(f"{group} {number}" for group, number in groups.items() if number)
    gone = [one for one in experiment["findings"] if IndexVerdict(one["verdict"]) not in KEPT]
    if not gone:
        return said.capitalize()
    inserts = sum(one["cost"]["ms"] for one in gone if one["cost"]) * 1000
    spared = f" and {inserts:.0f} µs an insert" if inserts > 0.5 else ""
    return f"{said.capitalize()}: dropping saves {sum(one['bytes'] for one in gone) / 1e6:.1f} MB{spared}"


def twins(experiment: dict[str, Any]) -> pd.DataFrame:
    """A row a thing that decides a plan: what it is on the source and on its copy, what differs first."""
    rows = sorted(experiment.get("twin", []), key=lambda row: row["same"])
    return pd.DataFrame.from_dict(
        {
            row["what"]: {"source": row["source"], "copy": row["copy"], "": "same" if row["same"] else "not the same"}
            for row in rows
        },
        orient="index",
    )
