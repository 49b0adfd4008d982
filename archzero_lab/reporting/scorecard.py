"""The scorecard: every claim beside what was measured, in the terminal and as the report's first page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archzero_lab.experiments.metrics import in_unit
from archzero_lab.reporting.figures import Picture, improvements
from archzero_lab.reporting.notebooks import NotebookPage
from archzero_lab.settings import COMMAND

_STYLE = {"confirmed": "bold green", "refuted": "bold red", "inconclusive": "bold yellow"}
_MARK = {"confirmed": "✓", "refuted": "✗", "inconclusive": "?"}

_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("archzero_lab.reporting", "templates"), autoescape=True, trim_blocks=True
)


def rows(summary: dict[str, Any]) -> list[dict[str, str]]:
    """The scorecard as text, a row a claim."""
    return [
        {
            "id": claim["id"],
            "title": claim["title"],
            "claimed": _claimed(claim),
            "measured": _measured(claim),
            "interval": _interval(claim),
            "beside": _beside(claim),
            "verdict": claim["verdict"],
            "mark": _MARK[claim["verdict"]],
            "note": claim["note"],
            "warnings": "; ".join(claim["warnings"]),
        }
        for claim in summary["claims"]
    ]


def rows_in_words(summary: dict[str, Any]) -> str:
    """What was measured on, in a phrase; of a run before 0.2 its cards."""
    if "in_words" in summary:
        return str(summary["in_words"])
    held = f"{summary['cards']:,} cards, {summary['relationships']:,} relationships"
    return f"{held} ({summary.get('inventory') or 'generated'})"


def headline(summary: dict[str, Any]) -> str:
    """How many claims held, in a sentence."""
    counts = dict.fromkeys(_MARK, 0)
    for claim in summary["claims"]:
        counts[claim["verdict"]] += 1
    total = len(summary["claims"])
    said = f"{counts['confirmed']} of {total} claims confirmed, {counts['refuted']} refuted"
    return said + (f", {counts['inconclusive']} inconclusive" if counts["inconclusive"] else "")


def trust(summary: dict[str, Any]) -> str:
    """Whether the run can be trusted, in a sentence."""
    claims = summary["claims"]
    warned = [claim["title"] for claim in claims if claim["warnings"]]
    finest = [
        claim["measured"]["detectable"]
        for claim in claims
        if claim["claimed"]["improvement"] is not None and claim["measured"]["detectable"] is not None
    ]
    said = f"Differences of {max(finest):.0%} or more could be seen in every latency claim. " if finest else ""
    if not warned:
        return said + "Nothing disturbed the measurement that the lab looks for."
    return said + f"With a reservation, told beside it: {', '.join(warned)}."


def print_scorecard(console: Console, summary: dict[str, Any]) -> None:
    """The table of the terminal."""
    table = Table(title=f"{headline(summary)}  ({rows_in_words(summary)}, {summary['profile']})", title_justify="left")
    for column in ("claim", "claimed", "measured", "95 % interval", "verdict"):
        table.add_column(column, overflow="fold")
    told = rows(summary)
    for row in told:
        verdict = Text(f"{row['mark']} {row['verdict']}", _STYLE[row["verdict"]])
        table.add_row(row["title"], row["claimed"], row["measured"], row["interval"], verdict)
    console.print(table)
    for row in told:
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
) -> str:
    """index.html: the answer, then each claim with its figures (`pictures` by id), then what it was measured on.

    `capacity` is what a load found beside it: run_id, commit, target_p99_ms, rows and figures.
    """
    return _PAGES.get_template("index.html").render(
        headline=headline(summary),
        summary=summary,
        measured_on=rows_in_words(summary),
        lab=COMMAND,
        rows=[
            row
            | {
                "figures": [p._repr_html_() for p in pictures.get(row["id"], ())],
                "claim": claim,
                "layers": _layers(summary, claim),
            }
            for row, claim in zip(rows(summary), summary["claims"], strict=True)
        ],
        third=any(claim.get("beside") for claim in summary["claims"]),
        trust=trust(summary),
        capacity=capacity,
        figure=improvements(summary["claims"])._repr_html_(),
        pages=[{"href": page.html.name, "title": page.title} for page in pages],
        environment={key: value for key, value in summary["environment"].items() if not isinstance(value, dict | list)},
        settings=summary["environment"].get("postgres_settings", {}),
    )


def _layers(summary: dict[str, Any], claim: dict[str, Any]) -> dict[str, float]:
    """What a hit of this claim costs by layer, where it is one of a cache."""
    if claim.get("counter") != "hits":
        return {}
    found: dict[str, float] = summary.get("hit_costs", {}).get(claim["operations"], {})
    return found


def _claimed(claim: dict[str, Any]) -> str:
    claimed = claim["claimed"]
    if claimed["improvement"] is not None:
        before, after = (
            f"{value:g} {claimed['unit']}" if claimed.get("unit") else in_unit(claim["unit"], value)
            for value in (claimed["before"], claimed["after"])
        )
        return f"{_arrow(before, after)}, {claimed['improvement']:.1%} {'more' if _rises(claim) else 'less'}"
    if claim["unit"] == "failures":
        return "never fails"
    low, high = claimed["after"]
    return f"{low:.0%} to {high:.0%}" if claim["unit"] == "share" else f"{low:g} to {high:g} {claim['unit']}"


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
