"""A circuit breaker around Redis: after some failures in a row nobody waits for it until a probe succeeds."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Closed (use it), open (do not), half open (one caller may probe).

    Opens after `failures` in a row and lets a probe through `reset_s` later. `on_change` hears "open" and
    "closed" once each, so that the log says so once and not per request.
    """

    def __init__(
        self,
        failures: int,
        reset_s: float,
        on_change: Callable[[str], None] = lambda state: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._reset_s = reset_s
        self._on_change = on_change
        self._clock = clock
        self._failed = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether Redis is taken to be away."""
        return self._opened_at is not None

    def allows(self) -> bool:
        """Whether the caller may try now. While open, True makes the caller the one that probes."""
        if self._opened_at is None:
            return True
        if self._probing or self._clock() - self._opened_at < self._reset_s:
            return False
        self._probing = True
        return True

    def success(self) -> None:
        """Tell that a try went well."""
        self._failed = 0
        self._probing = False
        if self._opened_at is not None:
            self._opened_at = None
            self._on_change("closed")

    def failure(self) -> None:
        """Tell that a try went wrong."""
        self._failed += 1
        was_open = self._opened_at is not None
        if self._probing or self._failed >= self._limit:
            self._opened_at = self._clock()
            self._probing = False
            if not was_open:
                self._on_change("open")

    def abandoned(self) -> None:
        """Tell that a try was cancelled before it showed anything; somebody else may probe."""
        self._probing = False
