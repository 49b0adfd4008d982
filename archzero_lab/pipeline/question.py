"""A notebook run on its own, for its own question: no report before it, its pages in a run's folder of their own."""

from __future__ import annotations

from archzero_lab.errors import unknown_name
from archzero_lab.pipeline.progress import Reporter
from archzero_lab.pipeline.run_folder import new_run
from archzero_lab.reporting.notebooks import NOTEBOOKS, NotebookPage, parameters_of, run_notebook


def reads_a_run(name: str) -> bool:
    """Whether a notebook is part of each report: it has the parameter `run`."""
    return "run" in parameters_of(NOTEBOOKS / f"{name}.ipynb")


def choose_notebook(name: str) -> str:
    """The full name of a notebook by its name with or without number. Raises UnknownNameError."""
    known = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    for found in known:
        if name in (found, found.partition("_")[2]):
            return found
    raise unknown_name("notebook", name, known)


def ask(names: list[str], reporter: Reporter) -> list[NotebookPage]:
    """Run notebooks one after the other (they may measure), with their default parameters.

    Raises UnknownNameError before any of them is run, NotebookError for one that stops half way.
    """
    chosen = [choose_notebook(name) for name in names]
    run = new_run("notebook")
    pages = []
    for name in chosen:
        with reporter.work(name):
            pages.append(run_notebook(NOTEBOOKS / f"{name}.ipynb", run.path, {}))
    return pages
