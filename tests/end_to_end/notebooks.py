"""Notebooks that measure, run from the top by hand: each with its defaults, but with less to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from archzero_lab.settings import ROOT

_RUN = """
import json, sys
from pathlib import Path
from archzero_lab.reporting.notebooks import NOTEBOOKS, run_notebook
for name, parameters in json.loads(sys.argv[2]).items():
    print(run_notebook(NOTEBOOKS / f"{name}.ipynb", Path(sys.argv[1]), parameters).title)
"""


def run_by_hand(environment: dict[str, str], folder: Path, notebooks: dict[str, dict[str, Any]]) -> None:
    """Run notebooks with these parameters; their pages come into the folder."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(folder), json.dumps(notebooks)], capture_output=True, text=True, timeout=900,
        env=environment, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(notebooks)
