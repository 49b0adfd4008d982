"""A circuit breaker around Redis: after some failures in a row nobody waits for it until a heartbeat finds it well."""

from __future__ import annotations

from collections.abc import Callable


class CircuitBreaker:
    """Closed (use it) or open (do not). Requests never probe: the heartbeat does, so nobody's request waits for that.

    `on_change` hears "open" and "closed" once each, so that the log says so once and not per request.
    """

    def __init__(self, failures: int, on_change: Callable[[str], None] = lambda state: None) -> None:
        self._limit = failures
        self._on_change = on_change
        self._failed = 0
        self.is_open = False

    def failure(self) -> None:
        """Tell that a try went wrong."""
        self._failed += 1
        if not self.is_open and self._failed >= self._limit:
            self.is_open = True
            self._on_change("open")

    def success(self) -> None:
        """Tell that a try went well. Only recovered() closes an open breaker."""
        if not self.is_open:
            self._failed = 0

    def recovered(self) -> None:
        """Tell that a heartbeat found Redis well and all that it missed has been made good."""
        self._failed = 0
        if self.is_open:
            self.is_open = False
            self._on_change("closed")
