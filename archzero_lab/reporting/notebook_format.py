"""nbformat, imported without the grammar of IRIs that jsonschema would build for it: half a second of each start."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _not_there(module: str) -> Iterator[None]:
    """An import of this module fails in the block, as where it is not installed; jsonschema does without it."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # what Python has for a module that is not to be found
    try:
        yield
    finally:
        del sys.modules[module]


with _not_there("rfc3987_syntax"):
    import nbformat

__all__ = ["nbformat"]
