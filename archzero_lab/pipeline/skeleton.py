"""`./lab new`: a notebook of one's own in notebooks/own/, which runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.reporting.notebooks import NOTEBOOKS

OWN = NOTEBOOKS / "own"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def new_own_notebook(name: str) -> Path:
    """Write notebooks/own/NAME.ipynb: two arms to replace, with blocks as a parameter for papermill.

    Raises SettingsError for a name that is no file name, LabError where there is one already: nothing is overwritten.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"'{name}' cannot name a notebook: use small letters, digits and _, a letter first")
    path = OWN / f"{name}.ipynb"
    if path.exists() or any(found.stem.partition("_")[2] == name for found in NOTEBOOKS.glob("*.ipynb")):
        raise LabError(f"there is a notebook {name} already; take another name, or edit it")
    parameters = new_code_cell("blocks = 12  # paired blocks; 6 at least for a verdict")
    parameters.metadata["tags"] = ["parameters"]
    made = new_notebook(
        cells=[
            new_markdown_cell(
                f"# {name.replace('_', ' ').capitalize()}\n\nThe question, in a sentence. "
                "Starts the stack where it is not up; some seconds then."
            ),
            parameters,
            new_code_cell("import archzero_lab as lab\n\nlab.stack()"),
            new_markdown_cell(
                "What is there now (control), and what might replace it: SQL, a callable, or `lab.Requests`."
            ),
            new_code_cell(
                "control = \"SELECT count(*) FROM cards WHERE type = 'Risk'\"\n"
                "treatment = \"SELECT count(*) FROM cards WHERE type = 'Risk' AND status = 'active'\"\n"
                'lab.plan_diff(lab.explain(control, name="control"), lab.explain(treatment, name="treatment"))'
            ),
            new_code_cell("found = lab.experiment(control, treatment, blocks=blocks)\nfound"),
            new_markdown_cell("**Reading.** What the verdict means here, and what to do now."),
        ],
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
    )
    OWN.mkdir(exist_ok=True)
    nbformat.write(made, path)
    return path
