"""A claim: what was claimed of which arms, by which metric, under which operations."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

UNTIMED = ("mix", "sizes", "checks")
"""Operations that are no kind of request of the system's: a load, what is counted afterwards, checks of its own."""


class Claimed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was claimed: before and after (after may be a range), the gain as a share.

    `unit` where that of the claim is not the one in which it is measured: then only the gain can be compared.
    """

    before: float
    after: float | tuple[float, float]
    improvement: float | None = None
    unit: str = ""


NO_MECHANISM = "none"
"""The mechanism of a claim on a service in which nothing is counted: it is judged by time alone, and says so."""


@dataclass(frozen=True)
class Claim:
    """One claim. `id` is its name in summary.json; `paths` are asked for where its operations are "requests".

    `beside` names a third arm, measured in the same blocks, that the verdict does not regard; "" is none. `unit` is
    that of what is measured: ms, share, 1/s, MB or failures (database_time: ms a request). `mechanism_rises`: a gain
    comes with more of a system's own counter, not less.
    """

    id: str
    title: str
    sentence: str
    section: str
    metric: str
    claimed: Claimed
    control: str
    treatment: str
    operations: str
    rule: str
    mechanism: str
    over_ms: float | None = None
    paths: tuple[str, ...] = ()
    beside: str = ""
    unit: str = "ms"
    mechanism_rises: bool = False

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms of a block."""
        return (self.control, self.treatment, *filter(None, [self.beside]))

    @property
    def timed(self) -> bool:
        """Whether its operations are timed one by one, in slots of their own."""
        return self.operations not in UNTIMED

    @property
    def rises(self) -> bool:
        """Whether more is better."""
        return self.metric == "throughput"
