"""The index experiment in a notebook: what each index saves, costs, and what to do with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from archzero_lab.errors import LabError
from archzero_lab.jobs.indexes import page as index_report
from archzero_lab.jobs.indexes.measure import FILE, LATEST, IndexRequest, measure_indexes
from archzero_lab.jupyter.run import Words
from archzero_lab.progress import Reporter
from archzero_lab.reporting.figures import Picture
from archzero_lab.servers.stack import exclusive, running_stack
from archzero_lab.settings import REPORTS, load_settings


@dataclass(frozen=True)
class WholeFrame:
    """A frame shown with nothing cut short; `frame` is the DataFrame itself."""

    frame: pd.DataFrame

    def _repr_html_(self) -> str:
        return index_report.whole_html(self.frame)

    def __repr__(self) -> str:
        return self.frame.to_string()


class Indexes:
    """One index experiment. `Indexes(path)` wants its run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: dict[str, Any] = json.loads((path / FILE).read_text())

    def __repr__(self) -> str:
        return f"indexes: {self.told['about']}, {len(self.told['findings'])} judged"

    def _repr_html_(self) -> str:
        return self.said()._repr_html_() + self.verdicts()._repr_html_()

    def said(self) -> Words:
        """How many stay, and what that frees."""
        told = self.told
        text = f"{told['about']}; {index_report.weight(told)}"
        said = f"{told['kept']} of {len(told['findings'])} indexes are worth keeping"
        return Words(said, f"{text}. {index_report.check(told)}")

    def verdicts(self) -> WholeFrame:
        """A row an index: what to do with it and why; see reporting.index_report.verdicts."""
        return WholeFrame(index_report.verdicts(self.told))

    def costs(self) -> WholeFrame:
        """A row an index: what it adds to an insert; see reporting.index_report.costs."""
        return WholeFrame(index_report.costs(self.told))

    def updates(self) -> WholeFrame:
        """A row an index: what it adds to an update, HOT ones lost; see reporting.index_report.updates."""
        return WholeFrame(index_report.updates(self.told))

    def writes(self) -> WholeFrame:
        """A row a write, inserts and updates: rows/s with all indexes, none, those kept; see index_report.writes."""
        return WholeFrame(index_report.writes(self.told))

    def statements(self) -> pd.DataFrame:
        """A row a statement: with all indexes of the migration and with none of them."""
        return index_report.statements(self.told)

    def plans(self) -> WholeFrame:
        """A row a statement: how it is read with and without them, its generic plan; see index_report.plans."""
        return WholeFrame(index_report.plans(self.told))

    def losses(self) -> pd.DataFrame:
        """A row a statement and index that it uses: its time with it and with it alone hidden."""
        rows = [
            {"index": finding["name"], "statement": loss["statement"], "with ms": loss["with_ms"],
             "without ms": loss["without_ms"], "ratio": loss["ratio"], "ci_low": loss["ci_low"],
             "ci_high": loss["ci_high"], "then uses": ", ".join(loss["instead"]) or "none"}
            for finding in self.told["findings"] for loss in finding["losses"]
        ]  # fmt: skip
        return pd.DataFrame(rows).round(3)

    def sizes(self) -> Picture:
        """Sizes in the colours of the verdicts."""
        return index_report.bars(self.told)

    def gains(self) -> Picture:
        """What each statement loses without all of them."""
        return index_report.gain_bars(self.told)


def indexes(run: str = "", *, cards: int = 20_000, blocks: int = 6) -> Indexes:
    """An index experiment by its run's id or folder; without a name the newest, or one measured now at a small size.

    lab.indexes().verdicts().frame
    Raises LabError where there is no run of that name.
    """
    path = (Path(run) if "/" in run else REPORTS / run) if run else REPORTS / LATEST
    if (path / FILE).exists():
        return Indexes(path.resolve())
    if run:
        raise LabError(f"no index experiment '{run}'; ./lab indexes makes one, {LATEST} is the newest")
    with exclusive("indexes"), running_stack(load_settings()) as stack:
        made, _ = measure_indexes(stack, IndexRequest(cards=cards, blocks=blocks), Reporter(Console(quiet=True)))
    return Indexes(made.path)
