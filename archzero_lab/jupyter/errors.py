"""Our own errors in a notebook: one readable line in the cell's output, the frames of our code folded away."""

from __future__ import annotations

from typing import Any

from archzero_lab.errors import LabError


def in_one_line(shell: Any) -> None:
    """Show errors of our family as one line in this kernel; all others as before."""
    shell.set_custom_exc((LabError,), _tell)


def tell(error: LabError) -> None:
    """Show an error where no exception can travel, such as while a result is displayed; the cell counts as failed."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise error
    _tell(shell, type(error), error, None)


def _tell(shell: Any, kind: Any, value: BaseException, _: Any, tb_offset: Any = None) -> list[str]:
    line = f"{kind.__name__}: {value}"
    shell._showtraceback(kind, value, [line])
    return [line]
