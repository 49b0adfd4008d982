"""Phase 5's claims that are no latency, by the name that claims.toml gives them: the one place to add a check."""

from __future__ import annotations

from collections.abc import Callable

from archzero_lab.systems.arczero.checks.bench import Bench
from archzero_lab.systems.arczero.checks.database import no_n_plus_one, pool_no_exhaustion
from archzero_lab.systems.arczero.checks.freshness import immediate_invalidation, pattern_invalidation, ttl_policies
from archzero_lab.systems.arczero.checks.injection import no_key_injection, no_sql_injection
from archzero_lab.systems.arczero.checks.redis_away import works_without_redis
from archzero_lab.systems.checks import Tried

CHECKS: dict[str, Callable[[Bench], Tried]] = {
    check.__name__: check
    for check in (
        ttl_policies,
        immediate_invalidation,
        pattern_invalidation,
        works_without_redis,
        no_sql_injection,
        no_key_injection,
        no_n_plus_one,
        pool_no_exhaustion,
    )
}
