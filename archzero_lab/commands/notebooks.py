"""lab notebook and lab new: JupyterLab on the running stack, and a notebook of one's own to begin with."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from archzero_lab.commands.stack import up
from archzero_lab.postgres.shell_variables import given_to
from archzero_lab.settings import COMMAND, RESOURCES, ROOT, load_settings
from archzero_lab.terminal import console, relative

_JUPYTERLAB = "from archzero_lab.reporting import notebook_format; from jupyterlab.labapp import main; main()"
"""A second less than `-m jupyterlab`: see there. Without the folder where it is called: a file of a team's own named as
a library would be imported in its place."""


def notebook(
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8888,
) -> None:
    """Open JupyterLab on the running stack, at the page to start from.

    Starts what is not up. Ctrl-C ends JupyterLab, ./lab down the stack. In a team's repository: there, with nothing up
    until a notebook needs it.
    """
    from archzero_lab.bootstrap.system import team_here
    from archzero_lab.servers.stack import kept_stack

    team = team_here() is not None
    if not team and kept_stack(load_settings()) is None:
        up(cards=None, inventory=None, relationships=None, seed=1)
    os.environ.setdefault("ARCHZERO_HOME", str(ROOT))  # a kernel starts in the folder of its notebook
    os.chdir(ROOT if team else RESOURCES)
    page = "/lab" if team else "/lab/tree/notebooks/00_start.ipynb"
    arguments = ["--ServerApp.root_dir=.", f"--LabApp.default_url={page}", f"--port={port}"]
    # defaults of ours below a user's own: JupyterLab neither asks for news nor fetches any
    config = [str(Path(__file__).parent.parent / "jupyter" / "config"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, config))
    if not browser:
        arguments.append("--no-browser")
    if os.geteuid() == 0:
        arguments.append("--allow-root")
    given_to(os.environ)  # a user's own notebook sees his own shell
    os.execv(sys.executable, [sys.executable, "-P", "-c", _JUPYTERLAB, *arguments])  # noqa: S606  # no shell: a list


def new(
    name: Annotated[str, typer.Argument(help="Small letters, digits and _.")],
    claim: Annotated[
        bool, typer.Option("--claim/--arms", help="A claim that reports measure too, or two arms to compare.")
    ] = False,
) -> None:
    """Write a notebook of your own, which runs as it stands.

    Into notebooks/own/, which git ignores, or into notebooks/ beside a team's archzero.toml; ./lab report --notebook
    NAME runs it.
    """
    from archzero_lab.bootstrap.system import system_here
    from archzero_lab.jobs.studies.own_notebooks import new_own_notebook

    path = new_own_notebook(system_here(), name, "claim" if claim else "arms")
    console.print(f"{relative(path)}: open it by {COMMAND} notebook, run it by {COMMAND} report --notebook {name}",
                  highlight=False, soft_wrap=True)  # fmt: skip
