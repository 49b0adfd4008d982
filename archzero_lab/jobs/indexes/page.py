"""The index experiment as a page: what to do, the SQL for it, the verdicts, then each index with its plans."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from psycopg import sql

from archzero_lab.jobs.indexes.frames import (
    answer,
    bars,
    check,
    costs,
    gain_bars,
    plans,
    statements,
    twins,
    updates,
    verdicts,
    writes,
)  # fmt: skip
from archzero_lab.jobs.indexes.index_sections import each_index
from archzero_lab.jobs.indexes.verdict import KEPT, IndexVerdict
from archzero_lab.postgres.planner_settings import switched_off
from archzero_lab.reporting.pages import plain_page
from archzero_lab.reporting.tables import whole_html


def statements_to_drop(experiment: dict[str, Any]) -> str:
    """SQL that drops what is to be dropped, a line an index."""
    lines = []
    for finding in experiment["findings"]:
        if IndexVerdict(finding["verdict"]) in KEPT or not finding.get("place"):  # runs of before have none
            continue
        # the index of a partitioned table goes with its partitions', which CONCURRENTLY does not do
        how = "" if finding.get("partitions") else "CONCURRENTLY "
        lines.append(f"DROP INDEX {how}{sql.Identifier(*finding['place']).as_string()};")
    return "\n".join(lines)


_TITLE = "What each index is worth"


def warnings_of(experiment: dict[str, Any]) -> list[str]:
    """What to know before the verdicts: what was left out or judged otherwise, ways that the planner may not go."""
    off, given = switched_off(experiment.get("planner", {})), experiment.get("given_settings", {})
    theirs, ours = ([name for name in off if (name in given) is mine] for mine in (False, True))
    switches = [f"plans were made with {', '.join(theirs)} off, as that role and database have it"] if theirs else []
    switches += [f"plans were made with {', '.join(ours)} off, as --set has it"] if ours else []
    return [*experiment.get("notes", []), *switches]


def _listed(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if lines else ""


def _settings(experiment: dict[str, Any]) -> dict[str, str]:
    return {**experiment.get("planner", {}), **experiment["settings"]}


def page(experiment: dict[str, Any]) -> str:
    """The whole as one page without anything from elsewhere: the answer and its SQL, how far the copy is the source."""
    lead = (
        f'<p class="answer"><strong>{html.escape(answer(experiment))}.</strong> {html.escape(check(experiment))}.</p>'
    )
    if drops := statements_to_drop(experiment):
        listed = f'<pre class="take">{html.escape(drops)}</pre>'
        lead += f"<details open><summary>SQL that drops them</summary>{listed}</details>"
    lead += f'<p class="quiet">{html.escape(experiment["about"])}; {html.escape(experiment["server"])}</p>'
    lead += "".join(f'<p class="warning">{html.escape(note)}.</p>' for note in warnings_of(experiment))
    figures = bars(experiment)._repr_html_() + gain_bars(experiment)._repr_html_()
    lead += _twin(experiment)
    body = _listed("Answers that an index changed", experiment.get("differences", []))
    body += f"<h2>Verdicts</h2>{whole_html(verdicts(experiment))}"
    body += _listed("Not on the copy", experiment.get("left_out", []))
    body += _listed("Not measured", experiment.get("let_go", []))
    body += f"<h2>Index by index</h2>{each_index(experiment)}<h2>All of them</h2>{figures}"
    frames = (
        ("Cost of an insert", costs(experiment)), ("Cost of an update", updates(experiment)),
        ("All together", writes(experiment)),
        ("Statements", statements(experiment)), ("Plans", plans(experiment)),
    )  # fmt: skip
    body += "".join(f"<h2>{title}</h2>{whole_html(frame)}" for title, frame in frames)
    return plain_page(_TITLE, f"{body}<h2>How</h2>{_how(experiment)}", lead=lead, run_id=experiment.get("run_id", ""))


def _twin(experiment: dict[str, Any]) -> str:
    """Source and copy: open where they differ, in a line where they do not."""
    if not experiment.get("twin"):
        return ""
    apart = [row for row in experiment["twin"] if not row["same"]]
    said = (
        f"Source and copy differ in {len(apart)} of {len(experiment['twin'])} things that decide a plan"
        if apart else f"Source and copy are the same in all {len(experiment['twin'])} things that decide a plan"
    )  # fmt: skip
    return f"<details{' open' if apart else ''}><summary>{said}</summary>{whole_html(twins(experiment))}</details>"


def _how(experiment: dict[str, Any]) -> str:
    rows = ", ".join(f"{number:,} {name}" for name, number in experiment["rows"].items())
    settings = ", ".join(f"{name} {value}" for name, value in _settings(experiment).items())
    return (
        f"<p>{html.escape(rows)} rows; {html.escape(settings)}. Each statement in {experiment['blocks']} paired blocks"
        " with"
        " the index and with it hidden; inserts and updates of a column of it with it and with it dropped, on pages"
        " with room for a heap-only (HOT) update, GIN taking each row at once. A loss below 10 % is none; an index that"
        f" pays only above {experiment['reads_per_write']:g} reads a write is too dear.</p>"
    )
