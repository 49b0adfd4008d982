"""The scorecard: every claim beside what was measured, in the terminal and as the report's first page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from archzero_lab.experiments.metrics import in_unit
from archzero_lab.experiments.ranges import limits_in_words
from archzero_lab.reporting.claim_figures import whole_picture
from archzero_lab.reporting.figures import Picture
from archzero_lab.reporting.notebooks import NotebookPage
from archzero_lab.reporting.pages import render
from archzero_lab.reporting.run_words import (
    FIRST,
    answer,
    environment_in_words,
    headline,
    measured_when,
    next_steps,
    repeat_command,
    rows_in_words,
    trust,
)
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.reporting.work_table import statements_table, work_section, work_table
from archzero_lab.run_folders.run import PAGE
from archzero_lab.settings import COMMAND

_STYLE = {"confirmed": "bold green", "refuted": "bold red", "inconclusive": "bold yellow"}
_MARK = {"confirmed": "✓", "refuted": "✗", "inconclusive": "?"}


def in_order(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The claims, those first that were not confirmed."""
    return sorted(summary["claims"], key=lambda claim: FIRST.index(claim["verdict"]))


def rows(summary: dict[str, Any]) -> list[dict[str, str]]:
    """The scorecard as text, a row a claim, those first that were not confirmed."""
    return [
        {
            "id": claim["id"],
            "title": claim["title"],
            "claimed": claimed_in_words(claim),
            "measured": _measured(claim),
            "interval": _interval(claim),
            "beside": _beside(claim),
            "verdict": claim["verdict"],
            "mark": _MARK[claim["verdict"]],
            "note": claim["note"],
            "warnings": "; ".join(claim["warnings"]),
        }
        for claim in in_order(summary)
    ]


def print_scorecard(console: Console, summary: dict[str, Any]) -> None:
    """The table of the terminal."""
    title = f"{headline(summary)}  ({rows_in_words(summary)}, {summary['profile']})"
    table = WholeTable("claim", "claimed", "measured", "95 % interval", "verdict", title=title, lead=["verdict"])
    lines = rows(summary)
    for row in lines:
        verdict = Text(f"{row['mark']} {row['verdict']}", _STYLE[row["verdict"]])
        table.add_row(row["title"], row["claimed"], row["measured"], row["interval"], verdict)
    console.print(table)
    for row in lines:
        if row["beside"]:
            console.print(f"  {row['title']} by {row['beside']}", highlight=False)
    for claim in summary["claims"]:
        for warning in claim["warnings"]:
            console.print(f"  {claim['title']}: {warning}", style="yellow")


def index_page(
    summary: dict[str, Any],
    pages: list[NotebookPage],
    pictures: Mapping[str, list[Picture]],
    capacity: Mapping[str, Any] | None = None,
    data: Sequence[str] = (),
    work: Mapping[str, Any] | None = None,
    statements: pd.DataFrame | None = None,
) -> str:
    """index.html: the answer, then each claim with its figures (`pictures` by id), then what it was measured on.

    `data` are the files of the run's folder that hold its numbers.
    `work` is what requests of the two arms make PostgreSQL and Redis do, `statements` what each statement did in the
    slots that were timed (run_folders.run.Run.statements).
    `capacity` is what a load found beside it: run_id, commit, target_p99_ms, rows and figures.
    """
    contents = [("next", "What next"), ("scorecard", "Scorecard")]
    contents += [("capacity", "Capacity")] if capacity else []
    contents += [("work", "Work")] if work and work.get("kinds") else []
    contents += [("claims", "Claim by claim"), ("pages", "Notebooks and data"), ("trust", "Can it be trusted?"),
                 ("machine", "Measured on"), ("again", "Again")]  # fmt: skip
    links = [(page.html.name, page.title.partition(":")[0]) for page in pages]
    return render(
        "index.html",
        contents=contents,
        pages=[(PAGE, "The answer"), *links] if links else [],
        here=PAGE,
        title=f"archzero-lab: {headline(summary)}",
        run_id=summary["run_id"],
        headline=headline(summary),
        summary=summary,
        measured_on=rows_in_words(summary),
        lab=COMMAND,
        rows=[
            row
            | {
                "figures": [p._repr_html_() for p in pictures.get(row["id"], ())],
                "claim": claim,
                "again": repeat_command(summary, only=[claim["id"]]),
                "layers": _layers(summary, claim),
                "work": work_table(claim),
                "statements": [] if statements is None else statements_table(claim, statements),
            }
            for row, claim in zip(rows(summary), in_order(summary), strict=True)
        ],
        third=any(claim.get("beside") for claim in summary["claims"]),
        answer=answer(summary),
        trust=trust(summary),
        when=measured_when(summary),
        steps=next_steps(summary),
        again=repeat_command(summary),
        capacity=capacity,
        work=work_section(work) if work and work.get("kinds") else None,
        uncounted=(work or {}).get("reason", ""),
        figure=whole_picture(in_order(summary)),
        data=data,
        notebooks=[{"href": page.html.name, "title": page.title} for page in pages],
        environment=environment_in_words(summary["environment"]),
        settings=summary["environment"].get("postgres_settings", {}),
    )


def _layers(summary: dict[str, Any], claim: dict[str, Any]) -> dict[str, float]:
    """What a hit of this claim costs by layer, where it is one of a cache."""
    if claim.get("counter") != "hits":
        return {}
    costs: dict[str, float] = summary.get("hit_costs", {}).get(claim["operations"], {})
    return costs


def claimed_in_words(claim: dict[str, Any]) -> str:
    """What a claim of a summary says, from before to after or as limits."""
    claimed = claim["claimed"]
    if claimed["improvement"] is not None:
        before, after = (
            f"{value:g} {claimed['unit']}" if claimed.get("unit") else in_unit(claim["unit"], value)
            for value in (claimed["before"], claimed["after"])
        )
        return f"{_arrow(before, after)}, {claimed['improvement']:.1%} {'more' if _rises(claim) else 'less'}"
    if claim["unit"] == "failures":
        return "never fails"
    return limits_in_words(claim.get("rule", ""), claim["unit"], *claimed["after"])


def _measured(claim: dict[str, Any]) -> str:
    measured = claim["measured"]
    if not measured["samples"] and not measured["blocks"]:
        return "not timed"
    if claim["claimed"]["improvement"] is not None:
        before, after = in_unit(claim["unit"], measured["before"]), in_unit(claim["unit"], measured["after"])
        rose = _rises(claim) == (measured["improvement"] >= 0)
        return f"{_arrow(before, after)}, {abs(measured['improvement']):.1%} {'more' if rose else 'less'}"
    if claim["unit"] == "failures":
        return f"{measured['after']:.0f} of {measured['samples']} failed"
    return in_unit(claim["unit"], measured["after"])


def _interval(claim: dict[str, Any]) -> str:
    measured = claim["measured"]
    if not measured["samples"] and not measured["blocks"]:
        return "none"
    if measured.get("counted"):
        return "counted"
    if claim["claimed"]["improvement"] is not None:
        if measured["ci_low"] is None or measured["ci_high"] is None:
            return "none: too few blocks"
        return f"{measured['ci_low']:.1%} to {measured['ci_high']:.1%}"
    if claim["unit"] == "failures":
        return f"{1 - measured['ci_high']:.1%} to {1 - measured['ci_low']:.1%} fail"
    low, high = measured["after_ci_low"], measured["after_ci_high"]
    if low is None or high is None:
        return "none: too few blocks"
    if low == high:
        return "counted"
    return f"{low:.1%} to {high:.1%}" if claim["unit"] == "share" else f"{low:.3g} to {high:.3g} {claim['unit']}"


def _beside(claim: dict[str, Any]) -> str:
    """What the third arm came to; "" where there was none (or an older run had no word of it)."""
    beside = claim.get("beside")
    if beside is None:
        return ""
    if claim["unit"] == "failures":
        return f"{beside['arm']}: {beside['value']:.0f} failed"
    said = f"{beside['arm']}: {in_unit(claim['unit'], beside['value'])}"
    if beside["ci_low"] is None:
        return f"{said}, {beside['to_treatment']:.2f} times as much"
    return f"{said}, {beside['to_treatment']:.2f} times that ({beside['ci_low']:.2f} to {beside['ci_high']:.2f})"


def _rises(claim: dict[str, Any]) -> bool:
    return bool(claim["metric"] == "throughput")


def _arrow(before: str, after: str) -> str:
    """Both values, their unit once."""
    value, _, unit = before.partition(" ")
    return f"{value} → {after}" if unit and after.endswith(unit) else f"{before} → {after}"
