"""sweep: from what size and what distance on does a claim hold? Every combination measured in paired blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import pandas as pd

from archzero_lab.errors import LabError
from archzero_lab.experiments.claim_files import arms_of, choose_claims
from archzero_lab.experiments.claims import NO_MECHANISM, Claim
from archzero_lab.experiments.gains import analyze_gain
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.experiments.metrics import QUANTILES
from archzero_lab.experiments.runner import run_claim
from archzero_lab.progress import QUIET
from archzero_lab.servers.hurt import Relay
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arms import Opening
from archzero_lab.systems.system import Rows, System

_PURPOSE = "sweep"


def run_sweep(
    system: System,
    stack: Stack,
    sizes: Sequence[int],
    database_ms: Sequence[float],
    redis_ms: Sequence[float],
    *,
    only: tuple[str, ...] = (),
    blocks: int = 8,
    seed: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> pd.DataFrame:
    """A row a claim, size, distance of PostgreSQL and distance of Redis (ms a round trip, put in by a relay).

    Columns: claim, title, size, database_ms, redis_ms, before_ms, after_ms, claimed_after_ms, claimed, improvement,
    ci_low, ci_high, verdict, note. Both arms are as far from PostgreSQL; a claim without a cache is measured at one
    distance of Redis only. Raises LabError where no claim of a latency is among `only`.
    """
    claims = [replace(claim, beside="") for claim in choose_claims(system, only) if claim.timed]
    if not claims:
        raise LabError("none of these claims is about latency: there is nothing to sweep")
    cells = [
        (size, far, near, claim)
        for size in sizes
        for far in database_ms
        for near in redis_ms
        for claim in claims
        if near == redis_ms[0] or system.arms[claim.treatment].cached
    ]
    rows = []
    for size in sizes:
        with ExitStack() as closing:
            place = _Place(system, stack, size, blocks, seed, closing, arms_of(system, claims))
            for number, (of_size, far, near, claim) in enumerate(cells):
                if of_size == size:
                    rows.append(place.measure(claim, far, near))
                    progress((number + 1) / len(cells))
    return pd.DataFrame(rows)


class _Place:
    """The arms of one size, up behind relays whose distance is set as it is needed."""

    def __init__(
        self, system: System, stack: Stack, size: int, blocks: int, seed: int, closing: ExitStack, names: Sequence[str]
    ) -> None:
        self._size, self._blocks, self._seed = size, blocks, seed
        self._slots = system.profiles["smoke"]
        self._prepared = closing.enter_context(system.prepare(stack, Rows(size, seed), _PURPOSE, names, QUIET))
        self._database = Relay(stack, stack.postgres_url, "sweep-postgres")
        closing.callback(self._database.close)
        self._redis = Relay(stack, stack.redis_url, "sweep-redis")
        closing.callback(self._redis.close)
        far = replace(stack, redis_url=self._redis.url)
        openings = (Opening(name, stack=far, through=self._database.through) for name in names)
        self._arms = closing.enter_context(self._prepared.arms(*openings))

    def measure(self, claim: Claim, database_ms: float, redis_ms: float) -> dict[str, object]:
        """One cell."""
        self._database.set(delay_ms=database_ms)
        self._redis.set(delay_ms=redis_ms)
        measured = Measurements()
        size = self._slots.slot(claim.operations, QUANTILES.get(claim.metric))
        run_claim(claim, self._arms, self._prepared.operations, size, self._blocks, self._seed, measured)
        result = analyze_gain(claim, measured.samples_frame(), measured.slots_frame())
        return {
            "claim": claim.id,
            "title": claim.title,
            "size": self._size,
            "database_ms": database_ms,
            "redis_ms": redis_ms,
            "before_ms": result.before,
            "after_ms": result.after,
            "claimed_after_ms": claim.claimed.after,
            "claimed": claim.claimed.improvement,
            "improvement": result.improvement,
            "ci_low": result.ci_low,
            "ci_high": result.ci_high,
            "verdict": result.verdict.value,
            "note": result.note + ("; by time alone" if claim.mechanism == NO_MECHANISM else ""),
        }


def holds_from(cells: pd.DataFrame, claim: str) -> str:
    """In words: where a claim was confirmed, by size and distances."""
    mine = cells[(cells["claim"] == claim) & (cells["verdict"] == "confirmed")]
    if mine.empty:
        return "nowhere that was measured"
    lines = []
    for (database_ms, redis_ms), group in mine.groupby(["database_ms", "redis_ms"]):
        size = group["size"].min()
        rows = f"from {size:,} rows " if size else ""
        lines.append(f"{rows}at {database_ms:g} ms to PostgreSQL, {redis_ms:g} ms to Redis")
    return "; ".join(lines)
