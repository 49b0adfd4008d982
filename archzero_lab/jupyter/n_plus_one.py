"""Statements by number of items in a notebook: does any answer ask the database once an item?"""

from __future__ import annotations

from dataclasses import dataclass

from archzero_lab.jupyter.run import Words
from archzero_lab.progress import QUIET
from archzero_lab.reporting.figures import Picture, statements_by_size
from archzero_lab.reporting.frame import Frame
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import load_settings
from archzero_lab.systems.arczero.checks.statements_by_items import grows, statements_by_items
from archzero_lab.systems.arczero.system import ArcZero
from archzero_lab.systems.system import Rows


@dataclass(frozen=True)
class StatementCounts:
    """Statements that each endpoint took, by its number of items; -1 where there was no right answer."""

    counts: dict[str, dict[int, int]]

    def table(self) -> Frame:
        """A row an endpoint, a column a number of items."""
        return Frame(self.counts).T

    def said(self) -> Words:
        """Whether one of them grows."""
        wrong = [name for name, counts in self.counts.items() if min(counts.values()) < 0]
        if wrong:
            return Words("Not answered", f"{', '.join(wrong)}: nothing is known of their statements")
        growing = [name for name, counts in self.counts.items() if grows(counts)]
        if growing:
            return Words("A query in a loop", f"{', '.join(growing)} ask more often for more items")
        return Words(
            "No query in a loop", f"{len(self.counts)} endpoints take as many statements for any number of items"
        )

    def figure(self) -> Picture:
        """Statements against items; a query in a loop would be a line that climbs."""
        return statements_by_size(self.counts)


def n_plus_one(cards: int = 20_000) -> StatementCounts:
    """Ask every endpoint of a service on so many cards for 1, 10 and 100 items, count what it sends; some seconds.

    lab.n_plus_one().table()
    """
    with (
        exclusive("n_plus_one"),
        running_stack(load_settings()) as stack,
        ArcZero().prepare(stack, Rows(cards), "count", ["treatment"], QUIET) as prepared,
    ):
        return StatementCounts(statements_by_items(stack, prepared.urls["treatment"], prepared.catalog.ids))
