"""self-check: can this machine be trusted? Two arms that are the same must look so; a known delay must be found."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from archzero_lab.experiments.claims import Claim, load_claims
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.experiments.runner import run_claim
from archzero_lab.postgres.migrations import connect
from archzero_lab.runs.environment import machine_fingerprint
from archzero_lab.servers.hurt import Relay
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import REPORTS
from archzero_lab.stats.comparison import Comparison, compare
from archzero_lab.stats.estimates import hodges_lehmann
from archzero_lab.stats.verdict import Change, change
from archzero_lab.systems.arczero.arms import ServiceArm
from archzero_lab.systems.arczero.cards.catalog import Catalog, read_catalog
from archzero_lab.systems.arczero.portfolios import choose_portfolio, drop_arms, ensure_base, make_arms
from archzero_lab.systems.arczero.services import start_service
from archzero_lab.systems.spec import SlotSize

MARGINS = REPORTS / "margins.json"
"""This machine's margins: {fingerprint: {"detail p50": 0.03, …}}, beside the history."""
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


def run_self_check(
    stack: Stack, *, blocks: int, seed: int = 1, progress: Callable[[float], None] = lambda share: None
) -> SelfCheck:
    """A/A over two services that are the same, then the delays, `blocks` paired blocks each; margins are kept.

    On 20,000 cards; a service has no cache except where Redis' delay is looked for.
    """
    base = ensure_base(stack, choose_portfolio(20_000, 1, None, None), lambda share: None)
    urls = make_arms(stack, base, _PURPOSE, lambda *_: None)
    database = urls["treatment"]
    try:
        with connect(database) as connection:
            catalog = read_catalog(connection, seed)
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            progress(done / (2 * blocks * 4))

        bench = _Bench(stack, database, catalog, blocks, seed, step)
        slots = pd.concat([bench.identical(operation) for operation in _SIZES], ignore_index=True)
        same = [_same(slots, operation, metric) for operation in _SIZES for metric in _QUANTILES
                if (operation, metric) != ("list", "p95")]  # fmt: skip
        delays = [bench.delayed(where, added) for where, added in DELAYS_MS.items()]
    finally:
        drop_arms(stack, _PURPOSE)
    found = SelfCheck(machine_fingerprint(), same, delays, slots)
    _keep_margins(found)
    return found


def margins(path: Path = MARGINS) -> dict[str, float]:
    """This machine's margins by "operation metric"; none before a self-check has run here."""
    try:
        kept: dict[str, dict[str, float]] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return kept.get(machine_fingerprint(), {})


def margin_of(claim: Claim, path: Path = MARGINS) -> float:
    """This machine's margin for a claim's metric: of its own operations, else the largest there is of that metric."""
    known = margins(path)
    own = known.get(f"{claim.operations} {claim.metric}")
    alike = [margin for name, margin in known.items() if name.split()[-1] == claim.metric]
    return own if own is not None else max(alike, default=0.0)


class _Bench:
    """Opens two services that differ in one thing, or in none, and measures them side by side."""

    def __init__(
        self, stack: Stack, database: str, catalog: Catalog, blocks: int, seed: int, step: Callable[[], None]
    ) -> None:
        pool = replace(stack.settings.pool, check_before_use=False)  # one round trip a request, so one delay
        cache = replace(stack.settings.cache, near_bytes=0)
        self._stack = replace(stack, settings=replace(stack.settings, pool=pool, cache=cache))
        self._database, self._catalog = database, catalog
        self._blocks, self._seed, self._step = blocks, seed, step

    def identical(self, operation: str) -> pd.DataFrame:
        """Slot statistics in ms of two services on one database, a row a block, arm and metric."""
        with ExitStack() as closing:
            arms = {
                name: self._open(closing, self._stack, f"same-{name}", self._database, cached=False) for name in "ab"
            }
            return self._measure(arms, operation)

    def delayed(self, where: str, added_ms: float) -> Delay:
        """What is found of a delay that one of two services has in its path to a server; both go through a relay."""
        with ExitStack() as closing:
            arms = {}
            for name, delay_ms in (("a", 0.0), ("b", added_ms)):
                target = self._stack.redis_url if where == "Redis" else self._database
                relay = Relay(self._stack, target, f"{where.lower()}-{name}")
                closing.callback(relay.close)
                relay.set(delay_ms=delay_ms)
                stack = replace(self._stack, redis_url=relay.url) if where == "Redis" else self._stack
                database = self._database if where == "Redis" else relay.url
                arms[name] = self._open(closing, stack, f"delay-{name}", database, cached=where == "Redis")
            slots = self._measure(arms, "detail")
        medians = slots[slots["metric"] == "p50"].pivot_table(index="block", columns="arm", values="ms")
        interval = hodges_lehmann((medians["b"] - medians["a"]).to_numpy())
        return Delay(where, added_ms, interval.estimate, interval.low, interval.high)

    def _open(self, closing: ExitStack, stack: Stack, name: str, database: str, *, cached: bool) -> ServiceArm:
        service = start_service(stack, name, database, cached=cached)
        closing.callback(self._stack.registry.stop, service.record)
        arm = ServiceArm(service, self._database, cached=cached, admin_token=stack.settings.admin_token)
        closing.callback(arm.close)
        return arm

    def _measure(self, arms: dict[str, ServiceArm], operation: str) -> pd.DataFrame:
        measured = Measurements()
        size = _SIZES[operation]
        claim = _claim(operation)
        run_claim(claim, arms, self._catalog, size, self._blocks, self._seed, measured, self._step)
        grouped = measured.samples_frame().groupby(["block", "arm"])["service_time_s"]
        frames = []
        for metric, q in _QUANTILES.items():
            values = (grouped.mean() if q is None else grouped.quantile(q)) * 1000
            frames.append(values.rename("ms").reset_index().assign(metric=metric, operation=operation))
        return pd.concat(frames, ignore_index=True)


def _claim(operation: str) -> Claim:
    """What the runner wants to know: arms a and b under an operation's requests."""
    return replace(
        load_claims()[0], id=f"self_check_{operation}", control="a", treatment="b", beside="", operations=operation
    )


def _same(slots: pd.DataFrame, operation: str, metric: str) -> Same:
    mine = slots[(slots["operation"] == operation) & (slots["metric"] == metric)]
    table = mine.pivot_table(index="block", columns="arm", values="ms")
    size = _SIZES[operation].requests
    found = compare(
        table["a"].tolist(), table["b"].tolist(), quantile=_QUANTILES[metric], requests_a_slot=size,
        samples=2 * size * len(table),
    )  # fmt: skip
    spread = max(abs(np.log(found.ci_low)), abs(np.log(found.ci_high)))
    margin = max(_LEAST_MARGIN, float(np.exp(spread) - 1))
    return Same(operation, metric, found, change(found.ci_low, found.ci_high, A_A_MARGIN), round(margin, 4))


def _keep_margins(found: SelfCheck) -> None:
    try:
        kept = json.loads(MARGINS.read_text())
    except (OSError, ValueError):
        kept = {}
    kept[found.machine] = {f"{item.operation} {item.metric}": item.margin for item in found.same}
    MARGINS.parent.mkdir(parents=True, exist_ok=True)
    partial = MARGINS.with_suffix(".part")
    partial.write_text(json.dumps(kept, indent=1) + "\n")
    partial.replace(MARGINS)
