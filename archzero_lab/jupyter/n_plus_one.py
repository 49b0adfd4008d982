"""Statements by number of items in a notebook: does any answer ask the database once an item?"""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import pandas as pd
from rich.console import Console

from archzero_lab.bootstrap.portfolios import choose_portfolio, drop_arms, ensure_base, make_arms
from archzero_lab.bootstrap.stack import running_stack
from archzero_lab.cards.catalog import read_catalog
from archzero_lab.jupyter.run import Words
from archzero_lab.pipeline.database_checks import grows, statements_by_items
from archzero_lab.pipeline.progress import Reporter
from archzero_lab.postgres.migrations import connect
from archzero_lab.reporting.figures import Picture, legend_above, picture
from archzero_lab.settings import load_settings


@dataclass(frozen=True)
class StatementCounts:
    """Statements that each kind of answer took, by its number of items."""

    counts: dict[str, dict[int, int]]

    def table(self) -> pd.DataFrame:
        """A row a kind of answer, a column a number of items."""
        return pd.DataFrame(self.counts).T

    def said(self) -> Words:
        """Whether one of them grows."""
        growing = [name for name, counts in self.counts.items() if grows(counts)]
        if growing:
            return Words("A query in a loop", f"{', '.join(growing)} ask more often for more items")
        return Words("No query in a loop", f"{len(self.counts)} kinds of answer take as many statements for any number")

    def figure(self) -> Picture:
        """Statements against items; a query in a loop would be a line that climbs."""
        figure, axes = plt.subplots(figsize=(8, 3.2))
        for at, (name, counts) in enumerate(self.counts.items()):
            shift = 1 + 0.04 * at  # side by side, where they are the same
            axes.plot([size * shift for size in counts], list(counts.values()), "o-", label=name)
        axes.set_xscale("log")
        axes.set(xlabel="items", ylabel="statements", title="Statements by number of items",
                 ylim=(0, max(max(counts.values()) for counts in self.counts.values()) + 1))  # fmt: skip
        legend_above(axes, columns=3)
        return picture(figure, "; ".join(f"{name} {list(counts.values())}" for name, counts in self.counts.items()))


def n_plus_one(cards: int = 20_000) -> StatementCounts:
    """Ask a service on so many cards for 1, 10 and 100 items of every kind and count what it sends; some seconds.

    lab.n_plus_one().table()
    """
    reporter = Reporter(Console(quiet=True))
    with running_stack(load_settings()) as stack, reporter.work("count"):
        base = ensure_base(stack, choose_portfolio(cards, 1, None, None), lambda share: None)
        try:
            urls = make_arms(stack, base, "count", lambda name, done, total: None)
            with connect(urls["treatment"]) as connection:
                ids = read_catalog(connection, 1).ids
            return StatementCounts(statements_by_items(stack, urls["treatment"], ids))
        finally:
            drop_arms(stack, "count")
