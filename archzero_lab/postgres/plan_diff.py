"""Two plans of one query beside each other: what changed, said in a line a step, the biggest first."""

from __future__ import annotations

from dataclasses import dataclass

from archzero_lab.postgres.plan_pairs import Pair, far_apart, pair_steps
from archzero_lab.postgres.plan_steps import steps
from archzero_lab.postgres.plans import Plan


@dataclass(frozen=True)
class PlanDiff:
    """Two plans beside each other. `pairs` are in the order of what they changed of the whole's time."""

    before: Plan
    after: Plan
    pairs: tuple[Pair, ...]

    @property
    def whole(self) -> str:
        """What became of the statement as a whole, in a line."""
        one, other = self.before, self.after
        ratio = other.execution_ms / one.execution_ms if one.execution_ms else 1.0
        said = f"{1 - ratio:.1%} less" if ratio <= 1 else f"{ratio - 1:.1%} more"
        return (
            f"{one.execution_ms:.3g} → {other.execution_ms:.3g} ms ({said}), "
            f"{one.shared_blocks:,} → {other.shared_blocks:,} blocks"
        )

    def lines(self) -> list[str]:
        """What changed, a line a step, the biggest first; nothing where the plans do the same."""
        total = self.after.execution_ms - self.before.execution_ms
        return [_line(pair, total) for pair in self.pairs if pair.changed]

    def __repr__(self) -> str:
        return "\n".join([self.whole, *(f"  {line}" for line in self.lines())])


def diff_plans(before: Plan, after: Plan) -> PlanDiff:
    """Pair the nodes of two plans of one query (`plan_pairs`), never by position: they need not have one shape."""
    pairs = pair_steps(list(steps(before.root)), list(steps(after.root)))
    pairs.sort(key=lambda pair: (-abs(pair.ms), -abs(pair.blocks)))
    return PlanDiff(before, after, tuple(pairs))


def _line(pair: Pair, total_ms: float) -> str:
    one, other = pair.before, pair.after
    if one is None or other is None:
        step = one or other
        assert step is not None
        what = ("gone: " if other is None else "new: ") + step.label
        parts = [what, f"{step.blocks:,} blocks", f"{step.ms:.3g} ms"]
    else:
        parts = [one.label if one.label == other.label else f"{one.label} → {other.label}"]
        for name, was, now in (
            ("rows", one.rows, other.rows),
            ("rows looked at in vain", one.rows_removed, other.rows_removed),
            ("estimated", one.planned_rows, other.planned_rows),
        ):
            if was is not None and now is not None and far_apart(was, now):
                parts.append(f"{name} {was:,.0f} → {now:,.0f}")
        if one.blocks != other.blocks:
            parts.append(f"blocks {one.blocks:,} → {other.blocks:,}")
        if one.read_blocks or other.read_blocks:
            parts.append(f"of them from outside shared buffers {one.read_blocks:,} → {other.read_blocks:,}")
        parts.append(f"{one.ms:.3g} → {other.ms:.3g} ms")
    share = pair.ms / total_ms if total_ms else 0.0
    if share >= 0.05:
        parts.append(f"{min(share, 1.0):.0%} of the whole's {'gain' if total_ms < 0 else 'loss'}")
    return "; ".join(parts)
