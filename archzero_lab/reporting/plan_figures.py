"""Two plans side by side as icicles: a node is as wide as its time, stands below its parent, coloured by its role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from archzero_lab.postgres.plan_diff import PlanDiff
from archzero_lab.postgres.plans import PlanNode
from archzero_lab.reporting.figures import ON_FIELD, Picture, picture

_COLOURS = {
    "scan": "#56B4E9", "join": "#E69F00", "aggregate": "#009E73", "sort": "#CC79A7", "limit": "#CCCCCC",
    "parallel": "#F0E442", "write": "#D55E00", "other": "#DDDDDD",
}  # fmt: skip
_LEAST = 0.004
"""Of the statement's time: what is narrower still gets so much, to be seen."""


def plan_trees(diff: PlanDiff, title: str) -> Picture:
    """Both plans, each in the width of its own time; below them both times on one scale. Changed nodes are outlined."""
    roles = {id(step.node): step.role for pair in diff.pairs for step in (pair.before, pair.after) if step}
    changed = {id(step.node) for pair in diff.pairs if pair.changed for step in (pair.before, pair.after) if step}
    depth = max(node.depth for plan in (diff.before, diff.after) for node in plan.root.walk()) + 1
    figure, panels = plt.subplots(
        2, 2, figsize=(10, 0.42 * depth + 1.5), height_ratios=(depth, 1.2), layout="constrained"
    )
    for axes, plan, name in zip(panels[0], (diff.before, diff.after), ("before", "after"), strict=True):
        for node, left, width in _places(plan.root, 0.0, 1.0):
            colour = _COLOURS[roles.get(id(node), "other")]
            edge, line = ("#111111", 1.4) if id(node) in changed else ("#ffffff", 0.6)
            axes.add_patch(
                Rectangle((left, -node.depth - 0.95), width, 0.9, facecolor=colour, edgecolor=edge, linewidth=line)
            )
            if width > 0.09:
                most = int(width * 62)
                label = f"{_short(node)} {node.total_ms:.3g} ms"
                axes.text(left + 0.006, -node.depth - 0.5, label if len(label) <= most else label[: most - 1] + "…",
                          va="center", fontsize=7.5, clip_on=True, color=ON_FIELD,
                          gid=f"field-{name}-{id(node)}")  # fmt: skip
        axes.set(xlim=(0, 1), ylim=(-depth - 0.05, 0.05))
        axes.set_title(f"{name}: {plan.execution_ms:.3g} ms", loc="left", fontsize=10)
        axes.axis("off")
    grid = panels[1][0].get_gridspec()
    for axes in panels[1]:
        axes.remove()
    below: Any = figure.add_subplot(grid[1, :])
    times = [diff.after.execution_ms, diff.before.execution_ms]
    bars = below.barh(["after", "before"], times, color=["#0072B2", "#D55E00"], height=0.7)
    said = [f" {plan.execution_ms:.3g} ms, {plan.shared_blocks:,} blocks" for plan in (diff.after, diff.before)]
    below.bar_label(bars, said, fontsize=8)
    below.set(xlim=(0, max(*times, 1e-6) * 1.3))
    below.xaxis.set_visible(False)
    below.grid(False)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return picture(figure, f"{title}: {diff.whole}; {'; '.join(diff.lines()[:3])}")


def _places(node: PlanNode, left: float, width: float) -> Iterator[tuple[PlanNode, float, float]]:
    """Each node with its left edge and width: children share their parent's by their times."""
    yield node, left, width
    total = max(node.total_ms, sum(child.total_ms for child in node.children), 1e-9)
    for child in node.children:
        share = max(width * child.total_ms / total, _LEAST)
        yield from _places(child, left, share)
        left += share


def _short(node: PlanNode) -> str:
    return f"{node.node_type} {node.index or node.relation or ''}".strip()
