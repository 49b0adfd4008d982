"""The scorecard: every claim beside what was measured, in the terminal and as the report's first page."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from archzero_lab.experiments.metrics import in_unit
from archzero_lab.experiments.ranges import limits_in_words
from archzero_lab.reporting.claim_figures import whole_picture
from archzero_lab.reporting.figures import Picture
from archzero_lab.reporting.notebooks import NotebookPage
from archzero_lab.reporting.pages import render
from archzero_lab.reporting.tables import in_three_digits
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.reporting.work_table import work_table
from archzero_lab.run_folders.run import PAGE
from archzero_lab.settings import COMMAND

_STYLE = {"confirmed": "bold green", "refuted": "bold red", "inconclusive": "bold yellow"}
_MARK = {"confirmed": "✓", "refuted": "✗", "inconclusive": "?"}

_FIRST = ("refuted", "inconclusive", "confirmed")
"""What did not hold comes before what did."""


def in_order(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The claims, those first that were not confirmed."""
    return sorted(summary["claims"], key=lambda claim: _FIRST.index(claim["verdict"]))


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


def answer(summary: dict[str, Any]) -> str:
    """What did not hold and what is undecided, by name, in a sentence or two."""
    titles: dict[str, list[str]] = {verdict: [] for verdict in _FIRST}
    for claim in summary["claims"]:
        titles[claim["verdict"]].append(claim["title"])
    said = []
    if titles["refuted"]:
        said.append(f"Refuted: {_listed(titles['refuted'])}.")
    if titles["inconclusive"]:
        said.append(f"Undecided: {_listed(titles['inconclusive'])}.")
    return " ".join(said) or "Every claim held."


def trust(summary: dict[str, Any]) -> str:
    """How far the run can be trusted, in a sentence or two."""
    claims = summary["claims"]
    warned = sum(bool(claim["warnings"]) for claim in claims)
    finest = [
        claim["measured"]["detectable"]
        for claim in claims
        if claim["claimed"]["improvement"] is not None and claim["measured"]["detectable"] is not None
    ]
    said = f"A change of {max(finest):.0%} in any of the times would have been seen. " if finest else ""
    controls = summary.get("negative_controls")
    if controls == [] and finest:
        said += "No negative control was measured: [service] untouched of archzero.toml names one. "
    moved = [one for one in controls or () if one["moved"]]
    if moved:
        arms = _listed(sorted({arm for one in moved for arm in (one["control"], one["treatment"])}))
        said += f"What no arm can touch moved between {arms}: nothing is confirmed of these. "
    if not warned:
        return said + "Nothing that the lab looks for disturbed the measurement."
    verb = "comes" if warned == 1 else "come"
    return said + f"{warned} of {len(claims)} results {verb} with a reservation, told beside it."


def measured_when(summary: dict[str, Any]) -> str:
    """The day and hour, how long it took and the machine, in a phrase."""
    environment = summary["environment"]
    said = []
    with contextlib.suppress(ValueError):  # a run that somebody has renamed
        began = dt.datetime.strptime(summary["run_id"][:15], "%Y%m%d-%H%M%S")
        said.append(f"{began:%Y-%m-%d %H:%M}")
    said.append(_unbroken(in_minutes(sum(stage["seconds"] for stage in summary["stages"]))))
    said.append(f"{environment['cpu']}, {environment['cores']} cores, {environment['memory_gb']:.0f} GB")
    return "; ".join(said)


def in_minutes(seconds: float) -> str:
    """A duration as people say it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def next_steps(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """What to do now: a sentence and its command."""
    undecided = [claim["id"] for claim in summary["claims"] if claim["verdict"] == "inconclusive"]
    steps = []
    if undecided:
        decide = repeat_command(summary, only=undecided, until_decided=5)
        steps.append(("Decide the undecided, in at most five minutes more:", decide))
    steps.append(("The same again, on another day or machine:", repeat_command(summary)))
    steps.append(("Against another run:", f"{COMMAND} compare OTHER_RUN {summary['run_id']}"))
    return steps


def repeat_command(summary: dict[str, Any], only: Sequence[str] = (), until_decided: float = 0) -> str:
    """The command that measures all of it again, or some of its claims: its profile, rows, seed and files."""
    asked = summary.get("asked", {})
    given = [f"{COMMAND} report --profile {summary['profile']}"]
    if "cards" in summary and not asked.get("files"):
        given.append(f"--cards {summary['cards']}")
    given.append(f"--seed {summary['seed']}")
    files = asked.get("files") or ({"inventory": summary["inventory"]} if summary.get("inventory") else {})
    given += [f"--{name} {shlex.quote(os.path.relpath(path))}" for name, path in files.items()]
    minutes = until_decided or asked.get("until_decided_min", 0)
    given += [f"--until-decided {minutes:g}"] if minutes else []
    given += [f"--only {claim}" for claim in only or asked.get("only", ())]
    return " ".join(given)


def _listed(titles: list[str]) -> str:
    return "; ".join(titles)  # some have commas of their own


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
) -> str:
    """index.html: the answer, then each claim with its figures (`pictures` by id), then what it was measured on.

    `data` are the files of the run's folder that hold its numbers.
    `capacity` is what a load found beside it: run_id, commit, target_p99_ms, rows and figures.
    """
    contents = [("next", "What next"), ("scorecard", "Scorecard")]
    contents += [("capacity", "Capacity")] if capacity else []
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
        figure=whole_picture(in_order(summary)),
        data=data,
        notebooks=[{"href": page.html.name, "title": page.title} for page in pages],
        environment=environment_in_words(summary["environment"]),
        settings=summary["environment"].get("postgres_settings", {}),
    )


def environment_in_words(environment: Mapping[str, Any]) -> dict[str, str]:
    """What a run was measured on, each thing as people read it; what has parts of its own is left out."""
    shown = {}
    for name, value in environment.items():
        if isinstance(value, bool):
            shown[name] = "yes" if value else "no"
        elif isinstance(value, float):
            shown[name] = in_three_digits(value)
        elif isinstance(value, list):
            shown[name] = ", ".join(in_three_digits(one) if isinstance(one, float) else str(one) for one in value)
        elif value is not None and not isinstance(value, dict):
            shown[name] = str(value)
    return {_THINGS.get(name, name.replace("_", " ")): value for name, value in shown.items()}


_THINGS = {
    "memory_gb": "memory, GB", "git_commit": "commit", "git_dirty": "changes that no commit holds", "cpu": "CPU",
    "load_before": "load average before, over 1, 5 and 15 min",
}  # fmt: skip


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
