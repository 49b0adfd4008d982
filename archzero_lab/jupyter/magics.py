"""%load_ext archzero_lab: %%explain, %plan_diff, %%measure and %cache, for those who would rather not type calls."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from archzero_lab.errors import SettingsError, unknown_name
from archzero_lab.jupyter.contents import CacheContents, cache_keys
from archzero_lab.jupyter.errors import in_one_line
from archzero_lab.jupyter.experiment import Experiment, experiment
from archzero_lab.jupyter.plans import ShownDiff, ShownPlan, plan_diff
from archzero_lab.jupyter.stack import explain


class _Line(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise SettingsError(f"{self.prog}: {message}; {self.format_usage().strip()}")


@magics_class
class LabMagics(Magics):
    """Plans and arms by name, within one notebook."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._plans: dict[str, ShownPlan] = {}
        self._arms: dict[str, Any] = {}

    @cell_magic("explain")  # type: ignore[arg-type]  # IPython types its decorators for functions
    def explain_cell(self, line: str, cell: str) -> ShownPlan:
        """%%explain [--arm ARM] [--name NAME]: the plan of the cell's SQL."""
        parser = _Line(prog="%%explain", add_help=False)
        parser.add_argument("--arm", default="treatment")
        parser.add_argument("--name", default="")
        given = parser.parse_args(shlex.split(line))
        plan = explain(cell.strip().rstrip(";"), arm=given.arm, name=given.name)
        self._plans[given.name or given.arm] = plan
        return plan

    @line_magic("plan_diff")  # type: ignore[arg-type]  # IPython types its decorators for functions
    def diff_line(self, line: str) -> ShownDiff:
        """%plan_diff BEFORE AFTER: what changed between two plans that %%explain named."""
        names = shlex.split(line)
        if len(names) != 2:
            raise SettingsError("%plan_diff: name two plans, such as %plan_diff before after")
        for name in names:
            if name not in self._plans:
                raise unknown_name("plan", name, list(self._plans) or ["(none: %%explain --name NAME makes one)"])
        return plan_diff(self._plans[names[0]], self._plans[names[1]])

    @cell_magic("measure")  # type: ignore[arg-type]  # IPython types its decorators for functions
    def measure_cell(self, line: str, cell: str) -> Experiment | str:
        """%%measure NAME [--against OTHER] [--blocks N] [--metric M] [--python]: the cell as an arm.

        The first names an arm, the second one compares with it. SQL unless --python, whose code runs as a whole.
        """
        parser = _Line(prog="%%measure", add_help=False)
        parser.add_argument("name")
        parser.add_argument("--against", default="")
        parser.add_argument("--blocks", type=int, default=12)
        parser.add_argument("--metric", default="p50")
        parser.add_argument("--python", action="store_true")
        given = parser.parse_args(shlex.split(line))
        arm: Any = cell.strip().rstrip(";")
        if given.python:
            code = compile(cell, "<%%measure>", "exec")
            space = self.shell.user_ns  # type: ignore[union-attr,unused-ignore]
            arm = lambda: exec(code, space)  # noqa: S102, E731  # the user's own cell, in the user's own kernel
        self._arms[given.name] = arm
        if not given.against:
            return f"{given.name} is an arm; compare with it by %%measure OTHER --against {given.name}"
        if given.against not in self._arms:
            raise unknown_name("arm", given.against, list(self._arms))
        return experiment(self._arms[given.against], arm, blocks=given.blocks, metric=given.metric)

    @line_magic("cache")  # type: ignore[arg-type]  # IPython types its decorators for functions
    def cache_line(self, line: str) -> CacheContents:
        """%cache: hit rate, keys by kind, memory, the hottest keys."""
        return cache_keys()


def register(shell: Any) -> None:
    """Add the magics to a kernel, and show our own errors as one line."""
    shell.register_magics(LabMagics)
    in_one_line(shell)
