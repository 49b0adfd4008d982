"""Each index of an experiment in a section: its verdict and why, what it costs, what statements lose without it."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from archzero_lab.jobs.indexes.frames import in_order
from archzero_lab.reporting.tables import in_three_digits, verdict_class, whole_html


def each_index(experiment: dict[str, Any]) -> str:
    """HTML of all of them, those to be dropped first."""
    plans = {plan["statement"]: plan for plan in experiment["plans"]}
    return "".join(_section(finding, plans) for finding in in_order(experiment))


def _section(finding: dict[str, Any], plans: dict[str, dict[str, Any]]) -> str:
    kind, sign = verdict_class(finding["verdict"])
    head = (
        f'<section class="claim"><h3><code>{html.escape(finding["name"])}</code>: <span class="{kind}">'
        f"{sign} {html.escape(finding['verdict'])}</span></h3>"
    )
    said = f"<p>{html.escape(_sentence(finding['why']))} {html.escape(_about(finding))}</p>"
    return f"{head}{said}{_losses(finding)}{_plans(finding, plans)}</section>"


def _sentence(text: str) -> str:
    """With a capital, where it does not begin with somebody's name."""
    first = text.partition(" ")[0]
    return f"{text[:1].upper() if first.isalpha() else text[:1]}{text[1:]}."


def _about(finding: dict[str, Any]) -> str:
    """Its table and size, what it takes to build, and what it adds to a write."""
    said = f"On {finding['table']}, {in_three_digits(finding['bytes'] / 1e6)} MB"
    if finding["build_s"] is not None:  # one that guards something is not built again
        said += f", built in {in_three_digits(finding['build_s'])} s"
    cost = finding["cost"]
    if cost is None:
        return f"{said}."
    said += f"; adds {_added(cost)} to an insert"
    if update := cost["update"]:
        said += f", {_added(update)} to an update of {update['column']}"
    return f"{said}."


def _added(cost: dict[str, Any]) -> str:
    """What it adds in µs with the interval; of what could not be told from nothing the most that it may be."""
    middle, low, high = (1000 * cost[name] for name in ("ms", "ci_low", "ci_high"))
    if low <= 0:
        return f"less than {in_three_digits(max(high, 0.1))} µs"
    return f"{in_three_digits(middle)} µs ({in_three_digits(low)} to {in_three_digits(high)})"


def _losses(finding: dict[str, Any]) -> str:
    losses = finding["losses"]
    if not losses:
        return ""
    frame = pd.DataFrame.from_dict(
        {
            loss["statement"]: {
                "with, ms": loss["with_ms"],
                "without, ms": loss["without_ms"],
                "times as long": loss["ratio"],
                "95 % interval": _interval(loss),
            }
            for loss in losses
        },
        orient="index",
    )
    return whole_html(frame)


def _interval(loss: dict[str, Any]) -> str:
    low, high = loss["ci_low"], loss["ci_high"]
    return "too few blocks" if low is None or high is None else f"{in_three_digits(low)} to {in_three_digits(high)}"


def _plans(finding: dict[str, Any], plans: dict[str, dict[str, Any]]) -> str:
    """How the statements that read it are read, with the indexes and without."""
    mine = [plans[name] for name in finding["used_by"] if name in plans]
    if not mine:
        return ""
    lines = "".join(
        f"<li><strong>{html.escape(plan['statement'])}</strong>: {html.escape(plan['with_indexes'])}; without the"
        f" migration's indexes: {html.escape(plan['without'])}</li>"
        for plan in mine
    )
    return f"<details><summary>Plans of what reads it: {len(mine)}</summary><ul>{lines}</ul></details>"
