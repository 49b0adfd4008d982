"""What a self-check came to, as tables and as a page: the sentence first, then the two arms that are the same."""

from __future__ import annotations

import html

import pandas as pd

from archzero_lab.jobs.studies.self_check import A_A_MARGIN, SelfCheck
from archzero_lab.reporting.figures import paired_blocks
from archzero_lab.reporting.pages import plain_page
from archzero_lab.reporting.tables import whole_html


def same_frame(result: SelfCheck) -> pd.DataFrame:
    """A row a metric of two identical arms: their ratio, what was found, and the margin of this machine."""
    rows = {
        f"{item.operation} {item.metric}": {
            "ratio": f"{item.comparison.effect_size:.3f}",
            "95 % interval": f"{item.comparison.ci_low:.3f} to {item.comparison.ci_high:.3f}",
            "found": item.found.value,
            "margin here": f"{item.margin:.1%}",
        }
        for item in result.same
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("two identical arms")


def delays_frame(result: SelfCheck) -> pd.DataFrame:
    """A row a delay that was put in: what was measured of it."""
    rows = {
        f"{delay.added_ms:g} ms to {delay.where}": {
            "measured": f"{delay.found_ms:.2f} ms",
            "95 % interval": f"{delay.ci_low_ms:.2f} to {delay.ci_high_ms:.2f} ms",
            "within 20 %": "yes" if delay.right else "no",
        }
        for delay in result.delays
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("delay put in")


def self_check_page(result: SelfCheck) -> str:
    """One self-contained page."""
    lead = f'<p class="answer"><strong>{html.escape(result.in_words)}</strong></p>'
    lead += f'<p class="quiet">machine {html.escape(result.machine)}</p>'
    figures = ""
    for operation, group in result.slots[result.slots["metric"] == "p50"].groupby("operation"):
        table = group.pivot_table(index="block", columns="arm", values="ms")
        figures += paired_blocks(table, f"Two identical services: {operation}", "p50, ms")._repr_html_()
    body = (
        f"<h2>Two identical arms</h2><p>They must be found alike within {A_A_MARGIN:.0%}.</p>"
        f"{whole_html(same_frame(result))}{figures}"
        f"<h2>Known delays</h2><p>Each must be measured within 20 % of its size.</p>{whole_html(delays_frame(result))}"
    )
    return plain_page("Can this machine be trusted?", body, lead=lead)
