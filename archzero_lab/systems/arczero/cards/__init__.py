"""Cards and relationships: model, search, service, graph. In a notebook `lab.cards()` is this package called."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """A name cannot be a package and a function: so the package can be called."""

    def __call__(self, limit: int = 1_000, *, arm: str = "treatment") -> Any:
        """The newest cards of an arm as a DataFrame; see jupyter.stack.cards."""
        return importlib.import_module("archzero_lab.jupyter.stack").cards(limit, arm=arm)


sys.modules[__name__].__class__ = _Package
