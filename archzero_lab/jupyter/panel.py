"""The panel of what runs: progress, time left, blocks as they arrive, counters each second, a stop button."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from archzero_lab.errors import LabError
from archzero_lab.jupyter.errors import tell
from archzero_lab.jupyter.pulse import Pulse
from archzero_lab.reporting.tables import in_three_digits

_LOOK_S = 0.25
_BEAT_S = 1.0


class Watched(Protocol):
    """What a panel can follow: an experiment, a report."""

    @property
    def running(self) -> bool:
        """Whether it still measures."""

    @property
    def progress(self) -> float:
        """The share that is done, 0 to 1."""

    @property
    def seconds_left(self) -> float | None:
        """About how long it still takes."""

    def stop(self) -> Any:
        """End after the current block and keep what was measured."""

    def so_far_html(self) -> str:
        """What can be said meanwhile."""

    def _repr_html_(self) -> str: ...


def show(running: Watched) -> None:
    """Show a panel that follows what runs, or, where nobody can press a button, wait and show the result.

    Bar, button and counters are widgets; the result is ordinary output, which stays in the saved notebook and is there
    where a front end shows no widgets.
    """
    from IPython.display import HTML, display

    if not _has_front_end():
        try:
            display(HTML(running._repr_html_()))
        except LabError as error:
            tell(error)
        return
    import ipywidgets as widgets

    bar = widgets.FloatProgress(value=0.0, min=0.0, max=1.0, layout=widgets.Layout(width="50%"))
    panel = widgets.HTML()
    button = widgets.Button(description="Stop after this block", icon="stop", layout=widgets.Layout(width="auto"))
    counters = widgets.HTML()

    def stop(_: Any) -> None:
        running.stop()
        button.disabled = True

    button.on_click(stop)
    display(widgets.VBox([widgets.HBox([bar, panel, button]), counters]))
    outcome = display(HTML("<p>starting</p>"), display_id=True)
    assert outcome is not None

    async def follow() -> None:
        loop = asyncio.get_running_loop()
        pulse = await loop.run_in_executor(None, Pulse)
        seen = -1.0
        beat = time.monotonic()
        while running.running:
            bar.value = running.progress
            left = running.seconds_left
            panel.value = f"{running.progress:.0%}" + (f", about {left:.0f} s left" if left is not None else "")
            if running.progress != seen:
                seen = running.progress
                outcome.update(HTML(_looked(running)))
            if pulse.beats and time.monotonic() - beat >= _BEAT_S:
                beat = time.monotonic()
                # in a thread: a database that is slow to answer must not hold the kernel
                await loop.run_in_executor(None, pulse.look)
                counters.value = _counters(pulse.rows)
            await asyncio.sleep(_LOOK_S)
        pulse.close()
        bar.value, button.disabled = running.progress, True
        panel.value = "done" if running.progress >= 1 else "stopped"
        outcome.update(HTML(_ended(running)))

    # on the kernel's own loop: it stays free for other cells while the measuring goes on elsewhere
    task = asyncio.ensure_future(follow())
    _FOLLOWING.add(task)
    task.add_done_callback(_FOLLOWING.discard)


_FOLLOWING: set[Any] = set()


def _looked(running: Watched) -> str:
    """What can be said meanwhile; where looking fails, that, as the panel must follow to the end all the same."""
    try:
        return running.so_far_html()
    except Exception as error:
        return f"<p>could not look: {html.escape(f'{type(error).__name__}: {error}')}</p>"


def _ended(running: Watched) -> str:
    """What came of it, or what went wrong: nobody waits for the panel's own task, so nothing may be lost in it."""
    try:
        return running._repr_html_()
    except LabError as error:
        said = str(error)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    return f"<p><strong>{html.escape(said)}</strong></p>"


def _counters(rows: Sequence[Mapping[str, float | None]]) -> str:
    """The newest reading in numbers, the last minute of each as a line."""
    if not rows:
        return ""
    heads = "".join(f"<th style='padding:0 8px'>{html.escape(name)}</th>" for name in rows[-1])
    values = "".join(
        f"<td style='padding:0 8px'>{'-' if v is None else in_three_digits(v)}</td>" for v in rows[-1].values()
    )
    lines = "".join(f"<td>{_line([row.get(name) for row in rows[-60:]])}</td>" for name in rows[-1])
    return f"<table style='text-align:right'><tr>{heads}</tr><tr>{values}</tr><tr>{lines}</tr></table>"


def _line(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    top = max(known, default=0.0) or 1.0
    points = " ".join(
        f"{at * 80 / max(len(values) - 1, 1):.1f},{18 - 16 * value / top:.1f}"
        for at, value in enumerate(values)
        if value is not None
    )
    return (
        "<svg width='80' height='20' role='img'><polyline fill='none' stroke='currentColor' "
        f"stroke-width='1.2' points='{points}'/></svg>"
    )


def _has_front_end() -> bool:
    """Whether somebody sits before a notebook: a kernel whose loop runs, and that may ask for input.

    nbclient, and with it nbconvert --execute and papermill, allows none: nobody presses a button there, and what is
    not in a cell's output when it ends is lost.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None or not getattr(getattr(shell, "kernel", None), "_allow_stdin", False):
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
