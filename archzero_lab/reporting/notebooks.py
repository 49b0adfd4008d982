"""Notebooks run by papermill, one process each, and held to their end: whatever stops one half way is an error."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archzero_lab.errors import NotebookError, unknown_name
from archzero_lab.extras import require
from archzero_lab.reporting.pages import Link
from archzero_lab.settings import RESOURCES, ROOT

NOTEBOOKS = RESOURCES / "notebooks"
TIMEOUT_S = 600


@dataclass(frozen=True)
class NotebookPage:
    """A notebook that ran: its name, title and self-contained page."""

    name: str
    title: str
    html: Path


def parameters_of(path: Path) -> dict[str, Any]:
    """Names and defaults in the cell tagged `parameters` (read from its syntax tree: papermill's own reading
    skips lines that hold two equals signs)."""
    for cell in read_notebook(path).cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            return dict(_literals(cell.source, path))
    return {}


def read_notebook(path: Path) -> Any:
    """A notebook in nbformat 4. Raises NotebookError, with its name, for what is none; LabError without its library."""
    require("papermill", "a notebook")
    from archzero_lab.reporting.notebook_format import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except Exception:  # nbformat has no error of its own for it: whatever its converters ran into
        raise NotebookError(f"{path.name} is no notebook that can be read; save it again in JupyterLab") from None


def _literals(source: str, path: Path) -> Iterator[tuple[str, Any]]:
    """The names that a cell gives literal values; what it computes, and magics, are left to its kernel."""
    plain = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))
    try:
        statements = ast.parse(plain).body
    except SyntaxError as error:
        raise NotebookError(f"{path.name}: its parameters cell, line {error.lineno}: {error.msg}") from None
    for statement in statements:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
            if isinstance(target, ast.Name):
                with suppress(ValueError):
                    yield target.id, ast.literal_eval(statement.value)


def reads_a_run(path: Path) -> bool:
    """Whether a notebook is part of each report: it has the parameter `run`."""
    return "run" in parameters_of(path)


def title_of(path: Path) -> str:
    """The first heading of a notebook."""
    for cell in read_notebook(path).cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return str(cell.source.splitlines()[0][2:].strip())
    return path.stem


def links_to(paths: Sequence[Path]) -> list[Link]:
    """The pages that notebooks become, each by the beginning of its title."""
    return [(f"{path.stem}.html", title_of(path).partition(":")[0]) for path in paths]


def run_notebook(
    path: Path, folder: Path, parameters: dict[str, Any], timeout_s: int = TIMEOUT_S, pages: Sequence[Link] = ()
) -> NotebookPage:
    """Run a notebook into `folder` as .ipynb and .html; `pages` are those of the run, which each page links to.

    Raises UnknownNameError for a parameter that it does not have, and NotebookError naming the notebook when it
    did not run to its end: an error, sys.exit, a failing !command, a dead kernel, a time-out.
    """
    known = parameters_of(path)
    for name in parameters:
        if name not in known:
            raise unknown_name(f"parameter of notebook {path.stem}", name, sorted(known) or ["(none)"])
    out = folder / path.name
    job = json.dumps(
        {"source": str(path), "out": str(out), "parameters": parameters, "timeout_s": timeout_s, "cwd": str(ROOT),
         "pages": list(pages)}
    )  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-m", "archzero_lab.reporting.execute", job],
            capture_output=True,
            text=True,
            timeout=timeout_s + 60,
        )
    except subprocess.TimeoutExpired:
        raise NotebookError(f"notebook {path.stem} did not end within {timeout_s} s") from None
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["ended without a word"])[-1]
        raise NotebookError(f"notebook {path.stem} stopped half way: {reason}; see {out.name} in the run's folder")
    return NotebookPage(path.stem, title_of(path), out.with_suffix(".html"))
