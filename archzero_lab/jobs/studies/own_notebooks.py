"""`./lab new`: a notebook of one's own, of two arms or of a claim of the system here, which runs as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.experiments.claim_files import OWN_CLAIMS, load_claims
from archzero_lab.experiments.claims import NO_MECHANISM
from archzero_lab.reporting.notebook_format import nbformat
from archzero_lab.reporting.notebooks import NOTEBOOKS
from archzero_lab.settings import COMMAND, ROOT
from archzero_lab.systems.system import System

OWN = ROOT / "notebooks" / "own"
"""Beside the lab's own notebooks, ignored by git."""
TEAMS = ROOT / "notebooks"
"""In a team's repository."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CLAIM = """
[{name}]
title = {title}
sentence = {sentence}
section = "our own"
metric = "p50"
claimed = {{ before = 20, after = 10, improvement = 0.5 }}
arms = {{ control = {control}, treatment = {treatment} }}
{operations}
rule = "improvement"
mechanism = "{mechanism}"
"""


def folder_of(system: System) -> Path:
    """Where notebooks of one's own lie: a team's in its repository, under version control."""
    return OWN if system.has_notebooks else TEAMS


def new_own_notebook(system: System, name: str, kind: Literal["arms", "claim"] = "arms") -> Path:
    """Write NAME.ipynb: two arms to replace, or a claim, which claims.own.toml then holds too.

    Raises SettingsError for a name that is no file name, LabError where there is one already: nothing is overwritten.
    """
    if not system.has_notebooks:
        system.require_ready()
        if len(set(system.compared)) < 2 or not _read_of(system):
            raise SettingsError(f"{system.claims_file.name} names no two [arms], or no [requests]: nothing to compare")
    if not _NAME.fullmatch(name):
        raise SettingsError(f"'{name}' cannot name a notebook: use small letters, digits and _, a letter first")
    folder = folder_of(system)
    path = folder / f"{name}.ipynb"
    ours = NOTEBOOKS.glob("*.ipynb") if system.has_notebooks else ()
    if path.exists() or any(one.stem.partition("_")[2] == name for one in ours):
        raise LabError(f"there is a notebook {name} already; take another name, or edit it")
    title = name.replace("_", " ").capitalize()
    if kind == "claim":
        if any(claim.id == name for claim in load_claims(system)):
            raise LabError(f"there is a claim {name} already; take another name, or edit it")
        cells = _claim_cells(system, name, title)
        written = (
            OWN_CLAIMS.read_text() if OWN_CLAIMS.exists() else "# Claims of one's own; claims.toml says the form.\n"
        )
        partial = OWN_CLAIMS.with_suffix(".part")
        partial.write_text(written + _claim(system, name, title))
        partial.replace(OWN_CLAIMS)
    else:
        cells = _arms_cells(title) if system.has_notebooks else _team_cells(system, title)
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=cells,
            metadata={
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": "python"},
            },
        ),
        path,
    )
    return path


def _parameters(source: str) -> nbformat.NotebookNode:
    cell: nbformat.NotebookNode = nbformat.v4.new_code_cell(source)
    cell.metadata["tags"] = ["parameters"]
    return cell


def _arms_cells(title: str) -> list[nbformat.NotebookNode]:
    return [
        nbformat.v4.new_markdown_cell(
            f"# {title}\n\nThe question, in a sentence. Starts the stack where it is not up; some seconds then."
        ),
        _parameters("blocks = 12  # paired blocks; 6 at least for a verdict"),
        nbformat.v4.new_code_cell("import archzero_lab as lab\n\nlab.stack()"),
        nbformat.v4.new_markdown_cell(
            "What is there now (control), and what might replace it: SQL, a callable, or `lab.Requests`."
        ),
        nbformat.v4.new_code_cell(
            "control = \"SELECT count(*) FROM cards WHERE type = 'Risk'\"\n"
            "treatment = \"SELECT count(*) FROM cards WHERE type = 'Risk' AND status = 'active'\"\n"
            'lab.plan_diff(lab.explain(control, name="control"), lab.explain(treatment, name="treatment"))'
        ),
        nbformat.v4.new_code_cell("found = lab.experiment(control, treatment, blocks=blocks)\nfound"),
        nbformat.v4.new_markdown_cell("**Reading.** What the verdict means here, and what to do now."),
    ]


def _team_cells(system: System, title: str) -> list[nbformat.NotebookNode]:
    control, treatment = system.compared
    return [
        nbformat.v4.new_markdown_cell(
            f"# {title}\n\nThe question, in a sentence. Each arm of {system.claims_file.name} is started on its own"
            " copy of the database; a minute then."
        ),
        _parameters("blocks = 12  # paired blocks; 6 at least for a verdict"),
        nbformat.v4.new_code_cell(
            "import archzero_lab as lab\n\nproject = lab.project()\n"
            'print("arms:", *project.arms)\nprint("requests:", *project.requests)'
        ),
        nbformat.v4.new_code_cell(
            f"found = project.experiment({_quoted(control)}, {_quoted(treatment)}, {_quoted(_read_of(system))},"
            " blocks=blocks)\nfound"
        ),
        nbformat.v4.new_code_cell("found.figure()"),
        nbformat.v4.new_code_cell("found.mechanism"),
        nbformat.v4.new_markdown_cell("**Reading.** What the verdict means here, and what to do now."),
    ]


def _read_of(system: System) -> str:
    """The first kind of request that reads, where there is one."""
    return next(iter(system.countable.kinds), "")


def _claim(system: System, name: str, title: str) -> str:
    """A claim to begin with, on the first arms and the first request of a system."""
    control, treatment = ("control", "treatment") if system.has_notebooks else system.compared
    if system.has_notebooks:
        sentence = "The newest page of risks: at least half the time with phase 5"
        operations = 'operations = "requests"\npaths = ["/api/v1/cards?type=Risk"]'
    else:
        sentence = f"{_read_of(system)}: at least half the time"
        operations = f"operations = {_quoted(_read_of(system))}"
    arm = system.arms[treatment]
    mechanism = "hits" if arm.cached else "blocks" if arm.database else NO_MECHANISM
    return _CLAIM.format(
        name=name, title=_quoted(title), sentence=_quoted(sentence), operations=operations, control=_quoted(control),
        treatment=_quoted(treatment), mechanism=mechanism,
    )  # fmt: skip


def _quoted(text: str) -> str:
    """A text as TOML and Python both read it: their escapes are JSON's."""
    return json.dumps(text)


def _claim_cells(system: System, name: str, title: str) -> list[nbformat.NotebookNode]:
    where, beside = OWN_CLAIMS.name, "phase 5's claims.toml" if system.has_notebooks else system.claims_file.name
    return [
        nbformat.v4.new_markdown_cell(
            f"# {title}\n\nA claim of one's own: `[{name}]` in {where}, beside {beside}; `{COMMAND} report` "
            "measures it with the others. Here it alone, as a smoke run: half a minute, on the running stack or on one "
            "that it starts."
        ),
        _parameters('profile = "smoke"  # standard for a verdict to quote'),
        nbformat.v4.new_code_cell(f'import archzero_lab as lab\n\nlab.claims().loc[["{name}"]]'),
        nbformat.v4.new_code_cell(f'measured = lab.report(only=["{name}"], profile=profile)\nmeasured'),
        nbformat.v4.new_code_cell(f'measured.run.note("{name}")'),
        nbformat.v4.new_code_cell(f'measured.run.blocks("{name}")'),
        nbformat.v4.new_code_cell(f'measured.run.mechanism("{name}")'),
        nbformat.v4.new_markdown_cell("**Reading.** What the verdict means here, and what to do now."),
    ]
