"""Where in a cluster's history something was written or read, as a token; what a request must see, and has seen."""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import LiteralString

_TOKEN = re.compile(r"([0-9a-f]{16})([0-9a-f]{8})([0-9a-f]{16})")
WRITTEN: LiteralString = (
    "SELECT ('x' || substr(pg_walfile_name(l), 1, 8))::bit(32)::int, (l - '0/0')::bigint"
    " FROM pg_current_wal_insert_lsn() l"
)
"""On a primary: its timeline and how far it has written at most. An error where it is none."""

COMMITTED: LiteralString = (
    "SELECT ('x' || substr(pg_walfile_name(l), 1, 8))::bit(32)::int, (l - '0/0')::bigint"
    " FROM (SELECT CASE WHEN current_setting('synchronous_commit') = 'off' THEN pg_current_wal_insert_lsn()"
    " ELSE pg_current_wal_flush_lsn() END) c (l)"
)
"""The same, as far as a commit of its own session reaches: to the disk, unless it did not wait for that."""

REPLAYED: LiteralString = (
    "SELECT pg_is_in_recovery(), (pg_last_wal_replay_lsn() - '0/0')::bigint,"
    " extract(epoch FROM pg_postmaster_start_time())::text"
)
"""On a replica: whether it is one still, how far it has replayed, and when it was started, which tells it from another
behind the same name. A read after it saw at least that, one before it no more."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the history of a cluster: its system identifier, the timeline, the LSN as a number of bytes.

    An LSN alone means nothing after a promotion: another history has it, too.
    """

    system: int
    timeline: int
    lsn: int

    def __str__(self) -> str:
        """40 hexadecimal digits; of one system their order is that of the history."""
        return f"{self.system:016x}{self.timeline:08x}{self.lsn:016x}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read str(position). Raises ValueError for anything else."""
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise ValueError("a position is 40 hexadecimal digits, as Archzero-Position had them")
        return cls(int(match[1], 16), int(match[2], 16), int(match[3], 16))

    def covers(self, other: Position) -> bool:
        """Whether who has replayed up to here has all that was written up to `other`, on one and the same timeline."""
        return (self.system, self.timeline) == (other.system, other.timeline) and self.lsn >= other.lsn


def later(one: Position | None, other: Position | None) -> Position | None:
    """The later of two positions of one system; of two systems the second one."""
    if one is None or other is None or one.system != other.system:
        return other or one
    return max(one, other, key=lambda position: (position.timeline, position.lsn))


@dataclass(slots=True)
class Session:
    """What one request may be answered from, and what it was.

    `needed`: it must see at least that. `primary`: only the primary will do. `seen`: it saw no more than that.
    """

    needed: Position | None = None
    primary: bool = False
    seen: Position | None = None

    def saw(self, position: Position | None) -> None:
        """Note that something as of this position, or older, went into the answer."""
        self.seen = later(self.seen, position)


SESSION: ContextVar[Session | None] = ContextVar("session", default=None)
"""The request's; None where nobody said what it needs: then the primary is asked."""
