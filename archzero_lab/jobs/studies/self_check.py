"""self-check: can this machine be trusted? Two arms that are the same must look so; a known delay must be found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from archzero_lab.experiments.claims import Claim, Claimed
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.experiments.runner import run_claim
from archzero_lab.progress import QUIET
from archzero_lab.run_folders.environment import machine_fingerprint
from archzero_lab.run_folders.margins import keep_margins
from archzero_lab.servers.hurt import Relay
from archzero_lab.servers.stack import Stack
from archzero_lab.stats.comparison import Comparison, compare
from archzero_lab.stats.estimates import hodges_lehmann
from archzero_lab.stats.verdict import Change, change
from archzero_lab.systems.arms import Opening
from archzero_lab.systems.profiles import SlotSize
from archzero_lab.systems.system import Prepared, Rows, System

DELAYS_MS = {"PostgreSQL": 5.0, "Redis": 2.0}
TOLERANCE = 0.2
A_A_MARGIN = 0.10
"""Two arms that are the same must be found so within this; a machine on which they are not tells nothing finer."""
_LEAST_MARGIN = 0.01
_PURPOSE = "selfcheck"
_SIZES = {"list": SlotSize(5, 15), "detail": SlotSize(50, 200)}
_QUANTILES = {"p50": 0.5, "p95": 0.95, "mean": None}


@dataclass(frozen=True)
class Same:
    """An A/A comparison of one metric of one operation. `margin` is its spread: what counts as none on this machine."""

    operation: str
    metric: str
    comparison: Comparison
    found: Change
    margin: float


@dataclass(frozen=True)
class Delay:
    """A delay that was put into a server's path, and what was found of it, in ms."""

    where: str
    added_ms: float
    found_ms: float
    ci_low_ms: float
    ci_high_ms: float

    @property
    def right(self) -> bool:
        """Whether it was found within TOLERANCE of its size."""
        return abs(self.found_ms - self.added_ms) <= TOLERANCE * self.added_ms


@dataclass(frozen=True)
class SelfCheck:
    """The outcome; `slots` are the medians in ms of every slot of the A/A comparison (operation, block, arm)."""

    machine: str
    same: list[Same]
    delays: list[Delay]
    slots: pd.DataFrame

    @property
    def trustworthy(self) -> bool:
        """No A/A comparison came out different, and every delay was found."""
        different = (Change.IMPROVED, Change.REGRESSED)
        return all(item.found not in different for item in self.same) and all(delay.right for delay in self.delays)

    @property
    def in_words(self) -> str:
        """Whether to trust this machine, and from what difference on."""
        least = f"{max(item.margin for item in self.same):.0%}"
        if self.trustworthy:
            return f"Yes: two identical arms are the same here; trust differences of {least} and more."
        apart = [item for item in self.same if item.found in (Change.IMPROVED, Change.REGRESSED)]
        if apart:
            most = max(abs(item.comparison.effect_size - 1) for item in apart)
            return f"No: two identical arms came out {most:.0%} apart; too noisy just now, trust no verdict of today."
        wrong = ", ".join(f"{delay.added_ms:g} ms to {delay.where}" for delay in self.delays if not delay.right)
        return f"No: a delay of known size was not found as it is ({wrong}); trust no difference below {least}."


def run_self_check(
    system: System,
    stack: Stack,
    *,
    blocks: int,
    rows: int = 20_000,
    seed: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> SelfCheck:
    """A/A over two services that are the same, then the delays, `blocks` paired blocks each; margins are kept.

    An arm has no cache except where Redis' delay is looked for.
    """
    pool = replace(stack.settings.pool, check_before_use=False)  # one round trip a request, so one delay
    plain = replace(stack, settings=replace(stack.settings, pool=pool))
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done / (2 * blocks * 4))

    with system.prepare(plain, Rows(rows), _PURPOSE, list(system.self_check_arms.values()), QUIET) as prepared:
        bench = _Bench(system, plain, prepared, blocks, seed, step)
        slots = pd.concat([bench.identical(operation) for operation in _SIZES], ignore_index=True)
        same = [_same(slots, operation, metric) for operation in _SIZES for metric in _QUANTILES
                if (operation, metric) != ("list", "p95")]  # fmt: skip
        delays = [bench.delayed(where, added) for where, added in DELAYS_MS.items()]
    result = SelfCheck(machine_fingerprint(), same, delays, slots)
    keep_margins(result.machine, {f"{item.operation} {item.metric}": item.margin for item in result.same})
    return result


@dataclass(frozen=True)
class _Bench:
    """Opens two services that differ in one thing, or in none, and measures them side by side."""

    system: System
    stack: Stack
    prepared: Prepared
    blocks: int
    seed: int
    step: Callable[[], None]

    def identical(self, operation: str) -> pd.DataFrame:
        """Slot statistics in ms of two services on one database, a row a block, arm and metric."""
        arm = self.system.self_check_arms["PostgreSQL"]
        return self._measure([Opening(arm, name) for name in "ab"], operation)

    def delayed(self, where: str, added_ms: float) -> Delay:
        """What is found of a delay that one of two services has in its path to a server; both go through a relay."""
        arm = self.system.self_check_arms[where]
        with ExitStack() as closing:
            openings = []
            for name, delay_ms in (("a", 0.0), ("b", added_ms)):
                target = self.stack.redis_url if where == "Redis" else self.stack.postgres_url
                relay = Relay(self.stack, target, f"{where.lower()}-{name}")
                closing.callback(relay.close)
                relay.set(delay_ms=delay_ms)
                if where == "Redis":
                    openings.append(Opening(arm, name, replace(self.stack, redis_url=relay.url)))
                else:
                    openings.append(Opening(arm, name, through=relay.through))
            slots = self._measure(openings, "detail")
        medians = slots[slots["metric"] == "p50"].pivot_table(index="block", columns="arm", values="ms")
        interval = hodges_lehmann((medians["b"] - medians["a"]).to_numpy())
        return Delay(where, added_ms, interval.estimate, interval.low, interval.high)

    def _measure(self, openings: Sequence[Opening], operation: str) -> pd.DataFrame:
        measured = Measurements()
        with self.prepared.arms(*openings) as arms:
            run_claim(
                _claim(operation), arms, self.prepared.operations, _SIZES[operation], self.blocks, self.seed, measured,
                self.step,
            )  # fmt: skip
        grouped = measured.samples_frame().groupby(["block", "arm"])["service_time_s"]
        frames = []
        for metric, q in _QUANTILES.items():
            values = (grouped.mean() if q is None else grouped.quantile(q)) * 1000
            frames.append(values.rename("ms").reset_index().assign(metric=metric, operation=operation))
        return pd.concat(frames, ignore_index=True)


def _claim(operation: str) -> Claim:
    """What the runner wants to know: arms a and b under an operation's requests."""
    return Claim(
        id=f"self_check_{operation}", title="", sentence="", section="", metric="p50", claimed=Claimed(0, 0),
        control="a", treatment="b", operations=operation, rule="improvement", mechanism="blocks",
    )  # fmt: skip


def _same(slots: pd.DataFrame, operation: str, metric: str) -> Same:
    mine = slots[(slots["operation"] == operation) & (slots["metric"] == metric)]
    table = mine.pivot_table(index="block", columns="arm", values="ms")
    size = _SIZES[operation].requests
    comparison = compare(
        table["a"].tolist(), table["b"].tolist(), quantile=_QUANTILES[metric], requests_a_slot=size,
        samples=2 * size * len(table),
    )  # fmt: skip
    spread = max(abs(np.log(comparison.ci_low)), abs(np.log(comparison.ci_high)))
    margin = max(_LEAST_MARGIN, float(np.exp(spread) - 1))
    return Same(
        operation, metric, comparison, change(comparison.ci_low, comparison.ci_high, A_A_MARGIN), round(margin, 4)
    )
