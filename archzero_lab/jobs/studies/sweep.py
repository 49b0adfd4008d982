"""sweep: from what size and what distance on does a claim hold? Every combination measured in paired blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import pandas as pd

from archzero_lab.errors import LabError
from archzero_lab.experiments.analysis import analyze_gain
from archzero_lab.experiments.chosen_claims import arms_of, chosen_claims
from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.experiments.metrics import QUANTILES
from archzero_lab.experiments.runner import run_claim
from archzero_lab.postgres.migrations import connect
from archzero_lab.servers.hurt import Relay
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.arms import ServiceArm
from archzero_lab.systems.arczero.cards.catalog import Catalog, read_catalog
from archzero_lab.systems.arczero.portfolios import choose_portfolio, drop_arms, ensure_base, make_arms, upto
from archzero_lab.systems.arczero.services import SERVICE_ARMS, index_set_of, start_service
from archzero_lab.systems.spec import PROFILES

_PURPOSE = "sweep"


def run_sweep(
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

    Columns: claim, title, cards, database_ms, redis_ms, before_ms, after_ms, claimed_after_ms, claimed, improvement,
    ci_low, ci_high, verdict, note. Both arms are as far from PostgreSQL; a claim without a cache is measured at one
    distance of Redis only. Raises LabError where no claim of a latency is among `only`.
    """
    claims = [replace(claim, beside="") for claim in chosen_claims(only) if claim.timed]
    if not claims:
        raise LabError("none of these claims is about latency: there is nothing to sweep")
    cells = [
        (cards, far, near, claim)
        for cards in sizes
        for far in database_ms
        for near in redis_ms
        for claim in claims
        if near == redis_ms[0] or SERVICE_ARMS[claim.treatment][1]
    ]
    rows = []
    for cards in sizes:
        with ExitStack() as closing:
            place = _Place(stack, cards, blocks, seed, closing, arms_of(claims))
            for number, (of_cards, far, near, claim) in enumerate(cells):
                if of_cards == cards:
                    rows.append(place.measure(claim, far, near))
                    progress((number + 1) / len(cells))
    return pd.DataFrame(rows)


class _Place:
    """The services of one size, up behind relays whose distance is set as it is needed."""

    def __init__(
        self, stack: Stack, cards: int, blocks: int, seed: int, closing: ExitStack, names: Sequence[str]
    ) -> None:
        base = ensure_base(stack, choose_portfolio(cards, seed, None, None), lambda share: None)
        closing.callback(drop_arms, stack, _PURPOSE)
        urls = make_arms(stack, base, _PURPOSE, lambda *_: None, upto(*(SERVICE_ARMS[name][0] for name in names)))
        self._cards, self._blocks, self._seed = cards, blocks, seed
        self._catalog: Catalog
        with connect(urls["control"]) as connection:
            self._catalog = read_catalog(connection, seed)
        self._database = Relay(stack, stack.postgres_url, "sweep-postgres")
        closing.callback(self._database.close)
        self._redis = Relay(stack, stack.redis_url, "sweep-redis")
        closing.callback(self._redis.close)
        cache = replace(stack.settings.cache, near_bytes=0)
        far = replace(stack, settings=replace(stack.settings, cache=cache), redis_url=self._redis.url)
        self._arms = {}
        for name in names:
            database, cached = SERVICE_ARMS[name]
            url = self._database.through(urls[database])
            service = start_service(far, name, url, cached=cached, index_set=index_set_of(database))
            closing.callback(stack.registry.stop, service.record)
            token = stack.settings.admin_token
            self._arms[name] = ServiceArm(service, urls[database], cached=cached, admin_token=token)
            closing.callback(self._arms[name].close)

    def measure(self, claim: Claim, database_ms: float, redis_ms: float) -> dict[str, object]:
        """One cell."""
        self._database.set(delay_ms=database_ms)
        self._redis.set(delay_ms=redis_ms)
        measured = Measurements()
        size = PROFILES["smoke"].slot(claim.operations, QUANTILES.get(claim.metric))
        run_claim(claim, self._arms, self._catalog, size, self._blocks, self._seed, measured)
        found = analyze_gain(claim, measured.samples_frame(), measured.slots_frame())
        return {
            "claim": claim.id,
            "title": claim.title,
            "cards": self._cards,
            "database_ms": database_ms,
            "redis_ms": redis_ms,
            "before_ms": found.before,
            "after_ms": found.after,
            "claimed_after_ms": claim.claimed.after,
            "claimed": claim.claimed.improvement,
            "improvement": found.improvement,
            "ci_low": found.ci_low,
            "ci_high": found.ci_high,
            "verdict": found.verdict.value,
            "note": found.note,
        }


def holds_from(cells: pd.DataFrame, claim: str) -> str:
    """In words: where a claim was confirmed, by size and distances."""
    mine = cells[(cells["claim"] == claim) & (cells["verdict"] == "confirmed")]
    if mine.empty:
        return "nowhere that was measured"
    told = []
    for (database_ms, redis_ms), group in mine.groupby(["database_ms", "redis_ms"]):
        told.append(
            f"from {group['cards'].min():,} cards at {database_ms:g} ms to PostgreSQL, {redis_ms:g} ms to Redis"
        )
    return "; ".join(told)
