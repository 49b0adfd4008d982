"""The console that all commands print to: as wide as the terminal, and in a log wide enough for a table's rows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

_LOG_WIDTH = 140
"""Where there is no terminal rich takes 80, at which a row of the scorecard takes three lines."""

# what is printed may come from a database or a file: nothing of it is markup; a style is given beside the text
_WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _LOG_WIDTH
console = Console(markup=False, emoji=False, width=_WIDTH)


def relative(path: Path) -> str:
    """A path as one would type it from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
