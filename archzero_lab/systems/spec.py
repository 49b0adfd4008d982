"""What an experiment is made of: arms that can be asked, blocks of slots, and the profile that sets their size."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from archzero_lab.errors import unknown_name
from archzero_lab.stats.estimates import REQUESTS_FOR
from archzero_lab.systems.arczero.traffic import Operation


@dataclass(frozen=True)
class Counters:
    """Totals of an arm that only grow; the difference over a slot is the mechanism behind its times.

    PostgreSQL's are None where pg_stat_statements is not to be had.
    """

    hits: int
    misses: int
    statements: int | None
    database_s: float | None
    blocks: int | None

    def since(self, earlier: Counters) -> Counters:
        """What was added since `earlier`."""

        def less(now: Any, then: Any) -> Any:
            return None if now is None or then is None else now - then

        return Counters(
            self.hits - earlier.hits,
            self.misses - earlier.misses,
            less(self.statements, earlier.statements),
            less(self.database_s, earlier.database_s),
            less(self.blocks, earlier.blocks),
        )


class Arm(Protocol):
    """One side of a comparison, up and running."""

    @property
    def name(self) -> str:
        """control, treatment, …"""

    def reset(self) -> None:
        """Put the cache into the state that every slot begins with: empty."""

    def ask(self, operation: Operation) -> tuple[float, int]:
        """Send one request and wait: (service_time_s, bytes). Raises MeasurementError for a wrong answer."""

    def counters(self) -> Counters:
        """Totals so far."""


@dataclass(frozen=True)
class SlotSize:
    """Requests a slot: each of `distinct` operations once as warm_up, then `requests` timed ones."""

    distinct: int
    requests: int


@dataclass(frozen=True)
class Profile:
    """How much is measured. Times are for two slow shared cores; `limit_s` is the promise of the whole report."""

    name: str
    cards: int
    blocks: int
    list: SlotSize
    detail: SlotSize
    search: SlotSize
    filter: SlotSize
    load_blocks: int
    load_slot_s: float
    load_warm_up_s: float
    load_users: int
    limit_s: int

    def slot(self, operations: str, quantile: float | None = None) -> SlotSize:
        """The slot size of a kind of operation: as many requests at least as a quantile takes."""
        size: SlotSize = self.filter if operations == "requests" else getattr(self, operations)
        needed = REQUESTS_FOR[quantile] if quantile is not None else 0
        return replace(size, requests=max(size.requests, needed))

    def as_dict(self) -> dict[str, Any]:
        """For the run's parameters."""
        return asdict(self)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "smoke", 20_000, 12, SlotSize(5, 15), SlotSize(50, 200), SlotSize(5, 10), SlotSize(6, 12),
            load_blocks=8, load_slot_s=1.2, load_warm_up_s=4, load_users=8, limit_s=120,
        ),
        Profile(
            "standard", 100_000, 20, SlotSize(8, 16), SlotSize(200, 600), SlotSize(5, 10), SlotSize(6, 12),
            load_blocks=8, load_slot_s=4, load_warm_up_s=30, load_users=8, limit_s=480,
        ),
        Profile(
            "full", 1_000_000, 12, SlotSize(5, 10), SlotSize(200, 600), SlotSize(5, 10), SlotSize(6, 12),
            load_blocks=8, load_slot_s=10, load_warm_up_s=60, load_users=4, limit_s=1800,
        ),
    )
}  # fmt: skip


def choose_profile(name: str, cards: int | None) -> Profile:
    """A profile, with another number of cards where one is given. Raises UnknownNameError."""
    if name not in PROFILES:
        raise unknown_name("profile", name, list(PROFILES))
    profile = PROFILES[name]
    return replace(profile, cards=cards) if cards is not None else profile
