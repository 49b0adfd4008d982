"""show: a run drawn from its folder: its notebooks' pages and the page that begins with the answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from archzero_lab.jobs.report.pictures import capacity_section, claim_pictures
from archzero_lab.reporting.notebooks import NOTEBOOKS, NotebookPage, links_to, reads_a_run, run_notebook
from archzero_lab.reporting.scorecard import index_page
from archzero_lab.run_folders.run import PAGE, WORK, Run


def show_notebooks(run: Run, tell: Callable[[float], None] = lambda share: None) -> list[NotebookPage]:
    """Run the notebooks that are about a run; none where they are about another system than the run's."""
    if run.judgeable and not run.facts.get("notebooks", True):
        return []
    paths = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if reads_a_run(path)]
    pages = [(PAGE, "The answer"), *links_to(paths)]
    done = 0

    def one(path: Path) -> NotebookPage:
        nonlocal done
        page = run_notebook(path, run.path, {"run": str(run.path)}, pages=pages)
        done += 1
        tell(done / len(paths))
        return page

    # side by side: these only read what was measured; each is a process of its own
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, paths))


def show_index(run: Run, pages: list[NotebookPage]) -> Path:
    """Write index.html, of a run that was judged."""
    summary = run.summary
    size = int(summary.get("size", summary.get("cards", 0)))
    capacity = capacity_section(size, summary["environment"].get("machine", ""))
    work = run.work if run.holds(WORK) else None
    page = index_page(summary, pages, claim_pictures(run), capacity, run.data_files(), work, run.statements)
    return run.write_page(page)
