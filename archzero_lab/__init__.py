"""archzero-lab: a performance lab around a cached card service on PostgreSQL and Redis.

In a notebook: `import archzero_lab as lab`, then `lab.load_run("latest")`, `lab.sql("SELECT …")`, `lab.explain(…)`,
`lab.experiment(control=…, treatment=…)`; `%load_ext archzero_lab` for the magics.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archzero_lab.jupyter.arms import Requests, Statement
    from archzero_lab.jupyter.cache import degradation, staleness
    from archzero_lab.jupyter.contents import cache_keys
    from archzero_lab.jupyter.experiment import Experiment, experiment, wait
    from archzero_lab.jupyter.failovers import failovers
    from archzero_lab.jupyter.indexes import Indexes, indexes
    from archzero_lab.jupyter.load import Load, load
    from archzero_lab.jupyter.n_plus_one import n_plus_one
    from archzero_lab.jupyter.plans import plan_diff, plan_from
    from archzero_lab.jupyter.pool import pool
    from archzero_lab.jupyter.project import Project, project
    from archzero_lab.jupyter.report import Report, report
    from archzero_lab.jupyter.run import Run, claims, load_run, runs
    from archzero_lab.jupyter.scaling import scaling
    from archzero_lab.jupyter.stack import cards, explain, sql, stack

_HOMES = {
    "Requests": "arms", "Statement": "arms", "cache_keys": "contents", "degradation": "cache", "staleness": "cache",
    "Experiment": "experiment", "experiment": "experiment", "wait": "experiment", "failovers": "failovers",
    "Indexes": "indexes", "indexes": "indexes",
    "Load": "load", "load": "load", "n_plus_one": "n_plus_one", "plan_diff": "plans", "plan_from": "plans",
    "pool": "pool", "Project": "project", "project": "project",
    "Report": "report", "report": "report", "Run": "run", "claims": "run", "load_run": "run",
    "runs": "run", "scaling": "scaling", "explain": "stack", "cards": "stack", "sql": "stack", "stack": "stack",
}  # fmt: skip
__all__ = [
    "Experiment", "Indexes", "Load", "Project", "Report", "Requests", "Run", "Statement", "cache_keys", "cards",
    "claims", "degradation", "experiment", "explain", "failovers", "indexes", "load", "load_run", "n_plus_one",
    "plan_diff", "plan_from", "pool", "project", "report", "runs", "scaling", "sql", "stack", "staleness", "wait",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # lazily: the commands and the service import this package too and need no pandas
    if name in _HOMES:
        return getattr(importlib.import_module(f"archzero_lab.jupyter.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """What %load_ext archzero_lab calls."""
    importlib.import_module("archzero_lab.jupyter.magics").register(shell)


def _errors_in_one_line() -> None:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        importlib.import_module("archzero_lab.jupyter.errors").in_one_line(shell)


_errors_in_one_line()
