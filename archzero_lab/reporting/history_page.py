"""The history of all runs as a page: figures and change points."""

from __future__ import annotations

import html

from archzero_lab.reporting.pages import plain_page
from archzero_lab.run_folders.history import ChangePoint


def history_page(figures: list[str], points: list[ChangePoint]) -> str:
    """One self-contained page of figures (already HTML) and change points."""
    items = "".join(
        f"<li>{html.escape(point.what)}: {html.escape(point.claim)} by a factor of {point.ratio:.2f} from run "
        f"{html.escape(point.run_id)} (commit {html.escape(point.commit[:8] or 'unknown')}), machine "
        f"{html.escape(point.machine)}</li>"
        for point in points
    )
    told = f"<ul>{items}</ul>" if items else "<p>No change point.</p>"
    return plain_page("History of runs", told + "".join(figures))
