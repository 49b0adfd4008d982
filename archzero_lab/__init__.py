"""archzero-lab: a performance lab around a cached card service on PostgreSQL and Redis.

In a notebook: `import archzero_lab as lab; run = lab.load_run("latest")`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archzero_lab.jupyter.cache import degradation, staleness
    from archzero_lab.jupyter.load import Load, load
    from archzero_lab.jupyter.run import Run, load_run

__all__ = ["Load", "Run", "degradation", "load", "load_run", "staleness"]
_HOMES = {"Load": "load", "Run": "run", "load": "load", "load_run": "run", "degradation": "cache", "staleness": "cache"}


def __getattr__(name: str) -> Any:
    # lazily: the commands and the service import this package too and need no pandas
    if name in __all__:
        return getattr(importlib.import_module(f"archzero_lab.jupyter.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
