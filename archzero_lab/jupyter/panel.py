"""The panel of a running experiment: progress, time left, the narrowing interval, a stop button."""

from __future__ import annotations

import asyncio
import html
import os
from typing import TYPE_CHECKING, Any

from archzero_lab.errors import LabError

if TYPE_CHECKING:
    from archzero_lab.jupyter.experiment import Experiment

_LOOK_S = 0.5


def show(running: Experiment) -> None:
    """Show a panel that follows the experiment, or, where nobody can press a button, wait and show the result."""
    from IPython.display import HTML, display

    if not _has_front_end():
        display(HTML(running._repr_html_()))
        return
    import ipywidgets as widgets

    bar = widgets.FloatProgress(value=0.0, min=0.0, max=1.0, layout=widgets.Layout(width="50%"))
    told = widgets.HTML()
    button = widgets.Button(description="Stop after this block", icon="stop")
    outcome = widgets.HTML()

    def stop(_: Any) -> None:
        running.stop()
        button.disabled = True

    button.on_click(stop)
    display(widgets.VBox([widgets.HBox([bar, told, button]), outcome]))

    async def follow() -> None:
        seen = -1
        while running.running:
            bar.value = running.progress
            left = running.seconds_left
            told.value = f"{running.progress:.0%}" + (f", about {left:.0f} s left" if left is not None else "")
            done = round(running.progress * 1_000)
            if done != seen:
                seen = done
                outcome.value = f"<p>{html.escape(so_far(running))}</p>"
            await asyncio.sleep(_LOOK_S)
        bar.value, button.disabled = running.progress, True
        told.value = "done" if running.progress >= 1 else "stopped"
        try:
            outcome.value = running._repr_html_()
        except LabError as error:
            outcome.value = f"<p><strong>{html.escape(str(error))}</strong></p>"

    # on the kernel's own loop: it stays free for other cells while the experiment measures in its thread
    task = asyncio.ensure_future(follow())
    _FOLLOWING.add(task)
    task.add_done_callback(_FOLLOWING.discard)


_FOLLOWING: set[Any] = set()


def so_far(running: Experiment) -> str:
    """The interval so far, in a line."""
    c = running.so_far().comparison
    if c is None:
        return "warming up"
    return f"so far {c.effect_size:.3f} ({c.ci_low:.3f} to {c.ci_high:.3f}) over {c.blocks} blocks, treatment / control"


def _has_front_end() -> bool:
    """Whether somebody sits before a notebook: a kernel whose loop runs, not papermill and not a script."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel") or "ARCHZERO_NOTEBOOK_JOB" in os.environ:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
