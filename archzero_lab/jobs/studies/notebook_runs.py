"""A notebook run on its own, for its own question: no report before it, its pages in a run's folder of their own."""

from __future__ import annotations

from pathlib import Path

from archzero_lab.errors import unknown_name
from archzero_lab.jobs.studies.own_notebooks import folder_of
from archzero_lab.progress import Reporter
from archzero_lab.reporting.notebooks import NOTEBOOKS, NotebookPage, links_to, run_notebook
from archzero_lab.run_folders.run import Run
from archzero_lab.systems.system import System


def choose_notebook(system: System, name: str) -> Path:
    """A notebook by its name with or without number, ours or one's own, or by its path. Raises UnknownNameError."""
    own = sorted(folder_of(system).glob("*.ipynb"))
    ours = sorted(NOTEBOOKS.glob("*.ipynb")) if system.has_notebooks else []
    known = {path.stem: path for path in [*own, *ours]}
    for stem, path in known.items():
        if name == stem or (path in ours and name == stem.partition("_")[2]):
            return path
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name).resolve()
    raise unknown_name("notebook", name, list(known) or ["(none)"])


def run_notebooks(system: System, names: list[str], reporter: Reporter) -> list[NotebookPage]:
    """Run notebooks one after the other (they may measure), with their default parameters.

    Raises UnknownNameError before any of them is run, NotebookError for one that stops half way.
    """
    chosen = [choose_notebook(system, name) for name in names]
    run = Run.new("notebook")
    pages = []
    for path in chosen:
        with reporter.work(path.stem):
            pages.append(run_notebook(path, run.path, {}, pages=links_to(chosen)))
    return pages
