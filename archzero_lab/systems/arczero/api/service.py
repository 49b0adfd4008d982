"""What the API is given: a card service, whether there is a cache behind it, and how to look at both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from litestar.params import SkipValidation

from archzero_lab.postgres.positions import Position
from archzero_lab.systems.arczero.cards.protocol import Cards


class Breaker(Protocol):
    """What health tells of a circuit breaker."""

    @property
    def is_open(self) -> bool:
        """Whether Redis is taken to be away."""


class RedisLink(Protocol):
    """The way to Redis."""

    @property
    def breaker(self) -> Breaker:
        """The breaker around it."""


class Store(Protocol):
    """What the cache endpoints need of the store."""

    @property
    def link(self) -> RedisLink:
        """The way to Redis."""

    async def health(self) -> dict[str, Any]:
        """Size, memory and latency, or {"connected": False}."""

    async def flush(self) -> bool:
        """Make every entry invalid."""


class Replicas(Protocol):
    """The database's replicas."""

    def refusal_of(self, position: Position) -> str | None:
        """Why a position that a request names cannot be answered for."""

    def facts(self) -> list[dict[str, Any]]:
        """Each server: its role, its lag, what is wrong with it."""


class Cache(Protocol):
    """A cache behind the card service."""

    @property
    def store(self) -> Store:
        """Where its entries live."""

    async def warm(self, most: int) -> dict[str, Any]:
        """Load what is used most; what was loaded."""


@dataclass(frozen=True)
class Service:
    """One service as the API sees it. `cache` and `replicas` are None where it runs without."""

    cards: Cards
    cache: Cache | None
    admin_token: str
    database_answers: Callable[[], Any]
    cache_counters: Callable[[], dict[str, Any]]
    reset_cache_counters: Callable[[], None]
    metrics: Callable[[], bytes]
    replicas: Replicas | None = None


# validation of a dependency would ask isinstance of a protocol, on every request
GivenCards = SkipValidation[Cards]
GivenService = SkipValidation[Service]
