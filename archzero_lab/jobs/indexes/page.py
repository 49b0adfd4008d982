"""The index experiment as a table, a figure and a page: what each index saves, what it costs, what to do with it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from psycopg import sql

from archzero_lab.jobs.indexes.verdict import KEPT, IndexVerdict
from archzero_lab.postgres.planner_settings import switched_off
from archzero_lab.reporting.figures import Picture, legend_above, log_axis, picture
from archzero_lab.reporting.plain_page import plain_page

_COLOURS = {
    IndexVerdict.KEEP: "#0072B2", IndexVerdict.KEEP_CONSTRAINT: "#56B4E9",
    IndexVerdict.KEEP_NEEDED: "#009E73", IndexVerdict.UNDECIDED: "#999999",
    IndexVerdict.TOO_DEAR: "#E69F00", IndexVerdict.DROP_SUBSUMED: "#CC79A7", IndexVerdict.DROP_UNUSED: "#D55E00",
}  # fmt: skip


def verdicts(told: dict[str, Any]) -> pd.DataFrame:
    """A row an index: what to do with it and why, its table and size, how many of the statements read it."""
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
            for finding in told["findings"]
        },
        orient="index",
    )


def costs(told: dict[str, Any]) -> pd.DataFrame:
    """A row an index: seconds to build, what it adds to the insert of a row, the reads a write from which it pays.

    That write is the dearer of an insert and an update.
    """
    rows = {}
    for finding in told["findings"]:
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


def updates(told: dict[str, Any]) -> pd.DataFrame:
    """A row an index: what it adds to an update of a column that it reads, and the heap-only updates that it ends."""
    rows = {}
    for finding in told["findings"]:
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


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def whole_html(frame: pd.DataFrame) -> str:
    """A frame as HTML with nothing cut short, numbers to three digits, what is missing left out."""
    with pd.option_context("display.max_colwidth", None):
        table = frame.to_html(na_rep="", float_format=_number, justify="left", border=0)
    return f"<div style='overflow-x:auto;text-align:left'>{table}</div>"


def statements(told: dict[str, Any]) -> pd.DataFrame:
    """A row a statement: its time with all of the indexes, with none, with those alone that are to be kept; paired."""
    kept = {loss["statement"]: loss for loss in told["without_dropped"]}
    rows = {}
    for loss in told["whole"]:
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


def writes(told: dict[str, Any]) -> pd.DataFrame:
    """A row a write and set of indexes (all, none, kept): rows a second, how much faster (paired), WAL, HOT share."""
    rows = {}
    for rate in told["writes"]:
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


def plans(told: dict[str, Any]) -> pd.DataFrame:
    """A row a statement: how it is read with and without the indexes, and by its generic plan where that differs.

    The generic plan knows no values; a prepared statement may get it from its sixth run on.
    """
    rows = {}
    for plan in told["plans"]:
        generic = plan["generic"]
        same = "the same as with" if generic == plan["with_indexes"] else generic
        rows[plan["statement"]] = {"with": plan["with_indexes"], "without": plan["without"], "generic plan": same}
    return pd.DataFrame.from_dict(rows, orient="index")


def check(told: dict[str, Any]) -> str:
    """Whether the verdicts hold together: what statements lose once everything to be dropped is gone, in a sentence."""
    slower = told["slower_without_dropped"]
    if not told["without_dropped"]:
        return "Nothing is to be dropped"
    whole = len(told["without_dropped"])
    if not slower:
        return f"With those alone that are to be kept, none of the {whole} statements is slower than with all of them"
    return f"With those alone that are to be kept, {len(slower)} of {whole} statements are slower: {', '.join(slower)}"


def weight(told: dict[str, Any]) -> str:
    """What the indexes weigh, and what those that are to be kept do."""
    return f"{told['bytes'] / 1e6:.1f} MB, of which {told['kept_bytes'] / 1e6:.1f} MB in those to keep"


def bars(told: dict[str, Any]) -> Picture:
    """Size of each index, in the colour of its verdict; the whole and what would be kept in the title."""
    ordered = sorted(told["findings"], key=lambda finding: finding["bytes"])
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
        f"{len(ordered)} indexes, {weight(told)}",
    )


def gain_bars(told: dict[str, Any]) -> Picture:
    """Each statement without the indexes over with them, its interval, on a log scale: right of 1 they help."""
    losses = sorted(told["whole"], key=lambda loss: loss["ratio"])
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


def answer(told: dict[str, Any]) -> str:
    """What to do with the indexes and what that saves, in a sentence."""
    groups = {"keep": 0, "drop": 0, "undecided": 0}
    for finding in told["findings"]:
        verdict = IndexVerdict(finding["verdict"])
        group = "undecided" if verdict is IndexVerdict.UNDECIDED else "keep" if verdict in KEPT else "drop"
        groups[group] += 1
    said = ", ".join(f"{group} {number}" for group, number in groups.items() if number)
    gone = [one for one in told["findings"] if IndexVerdict(one["verdict"]) not in KEPT]
    if not gone:
        return said.capitalize()
    inserts = sum(one["cost"]["ms"] for one in gone if one["cost"]) * 1000
    spared = f" and {inserts:.0f} µs an insert" if inserts > 0.5 else ""
    return f"{said.capitalize()}: dropping saves {sum(one['bytes'] for one in gone) / 1e6:.1f} MB{spared}"


def twins(told: dict[str, Any]) -> pd.DataFrame:
    """A row a thing that decides a plan: what it is on the source and on its copy, what differs first."""
    rows = sorted(told.get("twin", []), key=lambda row: row["same"])
    return pd.DataFrame.from_dict(
        {
            row["what"]: {"source": row["source"], "copy": row["copy"], "": "same" if row["same"] else "not the same"}
            for row in rows
        },
        orient="index",
    )


def statements_to_drop(told: dict[str, Any]) -> str:
    """SQL that drops what is to be dropped, a line an index."""
    lines = []
    for finding in told["findings"]:
        if IndexVerdict(finding["verdict"]) in KEPT or not finding.get("place"):  # runs of before have none
            continue
        # the index of a partitioned table goes with its partitions', which CONCURRENTLY does not do
        how = "" if finding.get("partitions") else "CONCURRENTLY "
        lines.append(f"DROP INDEX {how}{sql.Identifier(*finding['place']).as_string()};")
    return "\n".join(lines)


def warnings_of(told: dict[str, Any]) -> list[str]:
    """What to know before the verdicts: what was left out or judged otherwise, ways that the planner may not go."""
    off = switched_off(told.get("planner", {}))
    switches = [f"plans were made with {', '.join(off)} off, as that role and database have it"] if off else []
    return [*told.get("notes", []), *switches]


def _listed(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if lines else ""


def _settings(told: dict[str, Any]) -> dict[str, str]:
    return {**told.get("planner", {}), **told["settings"]}


def page(told: dict[str, Any]) -> str:
    """The whole as one page without anything from elsewhere: the answer first, then how far the copy is the source."""
    rows = ", ".join(f"{number:,} {name}" for name, number in told["rows"].items())
    head = (
        f"<p>{html.escape(told['about'])}: {html.escape(rows)}. {html.escape(told['server'])}, "
        f"{html.escape(', '.join(f'{name} {value}' for name, value in _settings(told).items()))}. Each statement in "
        f"{told['blocks']} paired blocks with the index and with it hidden; inserts and updates of a column of it with "
        "it and with it dropped, on pages with room for a heap-only (HOT) update, GIN taking each row at once. A loss "
        f"below 10 % is none; an index that pays only above {told['reads_per_write']:g} reads a write is too dear.</p>"
        f"<p>{html.escape(check(told))}.</p>"
    )
    lead = f"<p><strong>{html.escape(answer(told))}.</strong></p>"
    lead += "".join(f"<p>{html.escape(note)}.</p>" for note in warnings_of(told))
    if drops := statements_to_drop(told):
        lead += f"<details><summary>SQL that drops them</summary><pre>{html.escape(drops)}</pre></details>"
    lead += _listed("Answers that an index changed", told.get("differences", []))
    if told.get("twin"):
        lead += f"<h2>Source and copy</h2>{whole_html(twins(told))}"
    lead += _listed("Not on the copy", told.get("left_out", []))
    lead += _listed("Statements not measured", told.get("let_go", []))
    frames = (
        ("Indexes", verdicts(told)), ("What each costs an insert", costs(told)),
        ("What each costs an update", updates(told)), ("All together", writes(told)), ("Statements", statements(told)),
        ("Plans", plans(told)),
    )  # fmt: skip
    tables = "".join(f"<h2>{title}</h2>{whole_html(frame)}" for title, frame in frames)
    return plain_page(
        "What each index is worth", lead + head + bars(told)._repr_html_() + gain_bars(told)._repr_html_() + tables
    )
