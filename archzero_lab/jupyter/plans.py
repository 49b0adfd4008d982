"""Plans in a notebook: a tree with time as bars, a diff with its lines, figure and both trees."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass

from archzero_lab.postgres.plan_diff import PlanDiff, diff_plans
from archzero_lab.postgres.plans import Plan, read_plan
from archzero_lab.reporting.figures import Picture
from archzero_lab.reporting.frame import Frame
from archzero_lab.reporting.plan_figures import plan_trees

_CELL = "padding:2px 8px;text-align:right;white-space:nowrap"


@dataclass(frozen=True)
class ShownPlan:
    """A plan that shows itself as a tree. `raw` is EXPLAIN's JSON, to be pasted into any plan viewer."""

    plan: Plan
    name: str = ""

    @property
    def raw(self) -> str:
        """EXPLAIN (FORMAT JSON) as it came."""
        return json.dumps(json.loads(self.plan.raw), indent=1)

    @property
    def nodes(self) -> Frame:
        """A row a node: depth, node, rows planned and actual, loops, own and total ms, own blocks, rows removed."""
        return Frame(
            [
                {
                    "depth": node.depth,
                    "node": node.label,
                    "plan_rows": node.plan_rows,
                    "actual_rows": node.actual_rows,
                    "loops": node.loops,
                    "own_ms": node.exclusive_ms,
                    "total_ms": node.total_ms,
                    "own_blocks": node.exclusive_blocks,
                    "rows_removed": node.rows_removed,
                    "wal_records": node.wal_records,
                    "condition": node.condition,
                }
                for node in self.plan.root.walk()
            ]
        )

    def __repr__(self) -> str:
        lines = [f"{self.name or 'plan'}: {self.plan.execution_ms:.3g} ms, {self.plan.shared_blocks:,} blocks"]
        for node in self.plan.root.walk():
            rows = "never ran" if node.actual_rows is None else f"{node.actual_rows * node.loops:,.0f} rows"
            lines.append(f"{'  ' * (node.depth + 1)}{node.label}  {max(node.exclusive_ms, 0):.3g} ms, {rows}")
        return "\n".join([*lines, *(f"  {line}" for line in self._beside())])

    def _beside(self) -> list[str]:
        """What took time and is no node, a line each."""
        lines = [f"trigger {one.name} on {one.relation}  {one.ms:.3g} ms, {one.calls:,} calls"
                 for one in self.plan.triggers]  # fmt: skip
        if self.plan.jit_ms:
            lines.append(f"JIT compiling  {self.plan.jit_ms:.3g} ms, within the nodes that waited for it")
        if self.plan.outside_ms > 0:
            lines.append(f"changes in a CTE that nobody read to the end  {self.plan.outside_ms:.3g} ms")
        return lines

    def _repr_html_(self) -> str:
        longest = max((node.exclusive_ms for node in self.plan.root.walk()), default=0.0) or 1.0
        rows = []
        for node in self.plan.root.walk():
            width = max(node.exclusive_ms, 0) / longest * 100
            bar = f'<span style="display:inline-block;height:9px;width:{width:.0f}px;background:#0072B2"></span>'
            title = html.escape(node.condition or "")
            rows_text = "never ran" if node.actual_rows is None else f"{node.actual_rows * node.loops:,.0f}"
            rows.append(
                f'<tr><td style="padding:2px 8px 2px {8 + 18 * node.depth}px;text-align:left" title="{title}">'
                f"{html.escape(node.label)}</td>"
                f'<td style="{_CELL}">{max(node.exclusive_ms, 0):.3g}</td><td style="padding:2px 8px">{bar}</td>'
                f'<td style="{_CELL}">{rows_text}</td><td style="{_CELL}">{node.plan_rows * node.loops:,.0f}</td>'
                f'<td style="{_CELL}">{node.exclusive_blocks:,}</td></tr>'
            )
        head = "".join(
            f'<th style="{_CELL}{";text-align:left" * (name == "node")}">{name}</th>'
            for name in ("node", "own ms", "", "rows", "expected", "blocks")
        )
        name = html.escape(f"{self.name}: " if self.name else "")
        return (
            f"<p><strong>{name}{self.plan.execution_ms:.3g} ms</strong>, planned in {self.plan.planning_ms:.3g} ms, "
            f"{self.plan.shared_blocks:,} blocks</p><table><thead><tr>{head}</tr></thead>{''.join(rows)}</table>"
            + "".join(f"<p>{html.escape(line)}</p>" for line in self._beside())
        )


@dataclass(frozen=True)
class ShownDiff:
    """What changed between two plans of one query."""

    diff: PlanDiff
    before: ShownPlan
    after: ShownPlan

    @property
    def lines(self) -> list[str]:
        """What changed, a line a step, the biggest first."""
        return self.diff.lines()

    def figure(self) -> Picture:
        """Both plan trees side by side, time as area."""
        names = [plan.name for plan in (self.before, self.after) if plan.name]
        return plan_trees(self.diff, " and ".join(dict.fromkeys(names)) or "two plans")

    def __repr__(self) -> str:
        return repr(self.diff)

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{html.escape(line)}</li>" for line in self.lines) or "<li>the same steps</li>"
        once = "one run of each, by EXPLAIN's clock, which costs time itself; a verdict wants lab.experiment"
        head = f"<p><strong>{html.escape(self.diff.whole)}</strong><br><em>{html.escape(once)}</em></p>"
        return f"{head}<ul>{items}</ul>{self.figure()._repr_html_()}"


def plan_diff(before: ShownPlan, after: ShownPlan) -> ShownDiff:
    """Two plans of one query beside each other.

    lab.plan_diff(lab.explain(sql, arm="control"), lab.explain(sql, arm="treatment"))
    """
    return ShownDiff(diff_plans(before.plan, after.plan), before, after)


def plan_from(raw: str, name: str = "") -> ShownPlan:
    """A plan as people have it: EXPLAIN's JSON, auto_explain's object or its log line. Raises DatabaseError."""
    return ShownPlan(read_plan(raw), name)
