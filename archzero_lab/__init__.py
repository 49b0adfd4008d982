"""archzero-lab: a performance lab around a cached card service on PostgreSQL and Redis.

In a notebook: `import archzero_lab as lab; run = lab.load_run("latest")`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archzero_lab.jupyter.run import Run, load_run

__all__ = ["Run", "load_run"]


def __getattr__(name: str) -> Any:
    # lazily: the commands and the service import this package too and need no pandas
    if name in __all__:
        from archzero_lab.jupyter import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
