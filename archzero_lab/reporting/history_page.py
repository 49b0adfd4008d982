"""The history of all runs as a page: figures and change points."""

from __future__ import annotations

import html
from collections.abc import Sequence

from archzero_lab.reporting.figures import Picture
from archzero_lab.reporting.pages import plain_page
from archzero_lab.run_folders.history import ChangePoint


def history_page(figures: Sequence[tuple[str, Picture]], points: Sequence[ChangePoint]) -> str:
    """One self-contained page: change points first, then each series under its name."""
    items = "".join(
        f"<li>{html.escape(point.what)}: {html.escape(point.claim)} by a factor of {point.ratio:.2f} from run "
        f"<code>{html.escape(point.run_id)}</code> (commit {html.escape(point.commit[:8] or 'unknown')}), machine "
        f"{html.escape(point.machine)}</li>"
        for point in points
    )
    lead = (
        f'<p class="answer"><strong>{len(points)} change point{"s" if len(points) > 1 else ""}.</strong></p>'
        f"<ul>{items}</ul>"
        if points else '<p class="answer"><strong>No change point.</strong> Four runs on each side of one are the least'
        " that can show it.</p>"
    )  # fmt: skip
    body = "".join(f"<h2>{html.escape(name)}</h2>{figure._repr_html_()}" for name, figure in figures)
    return plain_page("History of runs", body, lead=lead)
