"""The index experiment in a notebook: what each index saves, costs, and what to do with it."""

from __future__ import annotations

from typing import Any

from archzero_lab.bootstrap.system import card_service
from archzero_lab.jobs.indexes import frames as index_report
from archzero_lab.jobs.indexes.measure import measure_indexes
from archzero_lab.jobs.indexes.request import IndexRequest
from archzero_lab.jupyter.run import Words
from archzero_lab.progress import QUIET
from archzero_lab.reporting.figures import Picture
from archzero_lab.reporting.frame import IndexTable
from archzero_lab.run_folders.finding import find_run
from archzero_lab.run_folders.run import INDEX_EXPERIMENT, LATEST_INDEXES, Run
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import REPORTS, load_settings


class Indexes:
    """One index experiment, of its run."""

    def __init__(self, run: Run) -> None:
        self.path = run.path
        self.told: dict[str, Any] = run.index_experiment

    def __repr__(self) -> str:
        return f"indexes: {self.told['about']}, {len(self.told['findings'])} judged"

    def _repr_html_(self) -> str:
        return self.said()._repr_html_() + self.verdicts()._repr_html_()

    def said(self) -> Words:
        """How many stay, and what that frees."""
        experiment = self.told
        text = f"{experiment['about']}; {index_report.weight(experiment)}"
        said = f"{experiment['kept']} of {len(experiment['findings'])} indexes are worth keeping"
        return Words(said, f"{text}. {index_report.check(experiment)}")

    def verdicts(self) -> IndexTable:
        """A row an index: what to do with it and why; see jobs.indexes.frames.verdicts."""
        return IndexTable(index_report.verdicts(self.told))

    def costs(self) -> IndexTable:
        """A row an index: what it adds to an insert; see jobs.indexes.frames.costs."""
        return IndexTable(index_report.costs(self.told))

    def updates(self) -> IndexTable:
        """A row an index: what it adds to an update, HOT ones lost; see jobs.indexes.frames.updates."""
        return IndexTable(index_report.updates(self.told))

    def writes(self) -> IndexTable:
        """A row a write, inserts and updates: rows/s with all indexes, none, those kept; see frames.writes."""
        return IndexTable(index_report.writes(self.told))

    def statements(self) -> IndexTable:
        """A row a statement: with all indexes of the migration and with none of them."""
        return IndexTable(index_report.statements(self.told))

    def plans(self) -> IndexTable:
        """A row a statement: how it is read with and without them, its generic plan; see jobs.indexes.frames.plans."""
        return IndexTable(index_report.plans(self.told))

    def losses(self) -> IndexTable:
        """A row a statement and index that it uses: its time with it and with it alone hidden."""
        rows = [
            {"index": finding["name"], "statement": loss["statement"], "with ms": loss["with_ms"],
             "without ms": loss["without_ms"], "ratio": loss["ratio"], "ci_low": loss["ci_low"],
             "ci_high": loss["ci_high"], "then uses": ", ".join(loss["instead"]) or "none"}
            for finding in self.told["findings"] for loss in finding["losses"]
        ]  # fmt: skip
        return IndexTable(rows).round(3)

    def sizes(self) -> Picture:
        """Sizes in the colours of the verdicts."""
        return index_report.bars(self.told)

    def gains(self) -> Picture:
        """What each statement loses without all of them."""
        return index_report.gain_bars(self.told)


def indexes(run: str = "", *, cards: int = 20_000, blocks: int = 6) -> Indexes:
    """An index experiment by its run's id or folder; without a name the newest, or one measured now at a small size.

    lab.indexes().verdicts()
    Raises LabError where there is no run of that name.
    """
    if run or (REPORTS / LATEST_INDEXES).exists():
        return Indexes(find_run(run or LATEST_INDEXES, holds=INDEX_EXPERIMENT))
    with exclusive("indexes"), running_stack(load_settings()) as stack:
        made, _ = measure_indexes(card_service(), stack, IndexRequest(cards, blocks=blocks), QUIET)
    return Indexes(made)
