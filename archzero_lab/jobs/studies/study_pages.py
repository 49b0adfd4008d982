"""The pages of a sweep and of a pool's sizes: what came of it in a sentence, the figures, every number."""

from __future__ import annotations

import pandas as pd

from archzero_lab.jobs.studies.pool_sweep import knee_in_words, knees, pool_table
from archzero_lab.jobs.studies.sweep import holds_from
from archzero_lab.reporting.course_figures import sweep_lines, sweep_map
from archzero_lab.reporting.pages import plain_page
from archzero_lab.reporting.pool_figures import pool_curves
from archzero_lab.reporting.tables import whole_html

_COLUMNS = {
    "size": "connections", "throughput_per_s": "answers/s", "mean_ms": "mean, ms", "p95_ms": "p95, ms",
    "refused_per_min": "refused/min", "postgres_cores": "PostgreSQL, cores", "active_backends": "statements at once",
    "acquire_wait_ms": "wait for one, ms", "held_ms": "held, ms",
}  # fmt: skip


def sizes_table(cells: pd.DataFrame) -> pd.DataFrame:
    """A row a number of users and a size, the columns as people call them."""
    return pool_table(cells).reset_index().rename(columns=_COLUMNS)


def sweep_page(cells: pd.DataFrame, title: str) -> str:
    """A section a claim: where it holds, its values over the sizes, and the map of sizes and distances."""
    body, holding = "", cells[cells["verdict"] == "confirmed"]["claim"].nunique()
    lead = f'<p class="answer">{holding} of {cells["claim"].nunique()} claims hold somewhere that was measured.</p>'
    for claim, group in cells.groupby("claim", sort=False):
        of_claim = str(group["title"].iloc[0])
        pictures = (sweep_lines(group, of_claim), sweep_map(group, f"{of_claim}: where it holds"))
        drawn = "".join(picture._repr_html_() for picture in pictures)
        body += f"<h2>{of_claim}</h2><p>Holds {holds_from(cells, str(claim))}.</p>{drawn}"
    return plain_page(f"Where the claims of {title} hold", body, lead=lead)


def pool_page(cells: pd.DataFrame, title: str) -> str:
    """The knee, the curves over the sizes, and the table."""
    best = knees(cells)
    table, knee = whole_html(sizes_table(cells).set_index("users")), knee_in_words(best)
    body = f"<h2>Curves</h2>{pool_curves(cells, best)._repr_html_()}<h2>Everything</h2>{table}"
    lead = f'<p class="answer"><strong>The knee.</strong> {knee[0].upper()}{knee[1:]}.</p>'
    return plain_page(f"The pool of {title}", body, lead=lead)
