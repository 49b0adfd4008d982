"""What counts as a Redis that nobody has: seen to be away again and again, by a process not held up itself."""

from __future__ import annotations

from archzero_lab.settings import CacheSettings

_ON_TIME = 3.0
"""A look that took more than so many time-outs was held up here, and says nothing of Redis."""


class Absence:
    """How long Redis has been away, by looks that failed. Times are monotonic seconds.

    A process that was stopped or starved looks late and fails, and others may have had Redis meanwhile: what it saw
    before counts no longer. So does what lies before a gap between two looks.
    """

    def __init__(self, settings: CacheSettings) -> None:
        self._longest_look_s = _ON_TIME * settings.timeout_s
        self._longest_gap_s = 2 * settings.heartbeat_s + settings.timeout_s
        self._since: float | None = None
        self._looked = 0.0

    def answered(self) -> None:
        """Redis did what it was asked for."""
        self._since = None

    def failed(self, began: float, ended: float) -> bool:
        """A look failed; whether it is the first that counts."""
        apart = ended - began > self._longest_look_s or began > self._looked + self._longest_gap_s
        first = self._since is None or apart
        if first:
            self._since = ended
        self._looked = ended
        return first

    def lasts_s(self, now: float) -> float:
        """For how long, 0 where it was answered last, or where nobody has looked for a while."""
        if self._since is None or now > self._looked + self._longest_gap_s:
            return 0.0
        return now - self._since
