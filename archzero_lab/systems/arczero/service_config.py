"""What a card service's process is told, as its environment holds it: of no part that the process is made of.

Whoever starts one imports this alone, and none of the API, the cache and their libraries.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

import msgspec

from archzero_lab.settings import CacheSettings, PoolSettings, ReplicaSettings

VARIABLE = "ARCHZERO_SERVICE"
IndexSet = Literal["phase5", "v2"]


@dataclass(frozen=True)
class ServiceConfig:
    """What a worker process needs to know; handed over as JSON in the environment.

    `redis_url` None is a service without a cache; `statements` caches results of statements in place of answers.
    `replicas` are URLs of its streaming replicas, to read from. `index_set` is that of the database; the statements fit
    it. `record` is the file of its access log, "" for none.
    """

    database_url: str
    redis_url: str | None
    namespace: str
    statements: bool = False
    replicas: tuple[str, ...] = ()
    index_set: IndexSet = "phase5"
    admin_token: str = ""
    allowed_hosts: tuple[str, ...] = ()
    record: str = ""
    cache: CacheSettings = field(default_factory=CacheSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    replica: ReplicaSettings = field(default_factory=ReplicaSettings)

    def encode(self) -> str:
        """As the environment variable holds it."""
        return msgspec.json.encode(asdict(self)).decode()
