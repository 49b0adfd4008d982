"""Checks: a claim that is no latency is so many trials, each right or wrong, and what shows that they were tried."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Tried:
    """How often it was tried, what went wrong, and the counters that show that it was tried at all.

    `independent` False: the trials are a list that somebody chose, of which no share of failures can be estimated.
    `unseen` are those of which nothing can be said, with why: no answer came, or its premise did not hold.
    """

    trials: int = 0
    failures: list[str] = field(default_factory=list)
    mechanism: dict[str, Any] = field(default_factory=dict)
    independent: bool = True
    unseen: list[str] = field(default_factory=list)

    def trial(self, right: bool, otherwise: str) -> None:
        """Count one."""
        self.trials += 1
        if not right:
            self.failures.append(otherwise)

    def unanswered(self, what: str) -> None:
        """Say of what nothing was seen, since no answer came in time."""
        self.unseen.append(f"{what}: no answer in time")

    def as_dict(self) -> dict[str, Any]:
        """For the run's folder."""
        return asdict(self)
