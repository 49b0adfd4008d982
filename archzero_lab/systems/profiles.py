"""Profiles: how much a report measures, a kind of operation and a load at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from archzero_lab.errors import unknown_name
from archzero_lab.stats.estimates import REQUESTS_FOR


@dataclass(frozen=True)
class SlotSize:
    """Requests a slot: each of `distinct` operations once as warm_up, then `requests` timed ones."""

    distinct: int
    requests: int


@dataclass(frozen=True)
class Profile:
    """How much is measured. Times are for two slow shared cores; `limit_s` is the promise of the whole report.

    `size` is the number of the system's rows, `slots` the slot size of each kind of operation.
    """

    name: str
    size: int
    blocks: int
    slots: Mapping[str, SlotSize]
    load_blocks: int
    load_slot_s: float
    load_warm_up_s: float
    load_users: int
    limit_s: int

    def slot(self, operations: str, quantile: float | None = None) -> SlotSize:
        """The slot size of a kind of operation: as many requests at least as a quantile takes."""
        size = self.slots[operations]
        needed = REQUESTS_FOR[quantile] if quantile is not None else 0
        return replace(size, requests=max(size.requests, needed))

    def as_dict(self) -> dict[str, Any]:
        """For the run's parameters."""
        return asdict(self)


def choose_profile(profiles: Mapping[str, Profile], name: str, size: int | None) -> Profile:
    """A profile, with another number of rows where one is given. Raises UnknownNameError."""
    if name not in profiles:
        raise unknown_name("profile", name, list(profiles))
    profile = profiles[name]
    return replace(profile, size=size) if size is not None else profile
