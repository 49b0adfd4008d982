"""What was counted of a system by kind of request: statements, plans, writes and Redis, as a file holds it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

import msgspec

from archzero_lab.systems.operations import Operation

_MARK = re.compile(r"p[0-9a-f]{5}")


class CountedStatement(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One statement of a kind of request. `inner`: another one ran it, whose blocks hold its own.

    `seldom`: of a kind that writes, how often in all, where most of its requests do not send it.
    `plans` are shapes of plans (postgres.plan_log) with how often each was run; `generic` is the mark of
    that for any values (plan_mark), where it is none of those.
    """

    sql: str
    calls: int
    rows: int = 0
    blocks: int = 0
    temporary: int = 0
    inner: bool = False
    plans: dict[str, int] = {}
    generic: str = ""
    seldom: int = 0


def most_common(plans: Mapping[str, int]) -> str:
    """The shape that was run most often, of equally often the first by the alphabet."""
    return min(plans, key=lambda shape: (-plans[shape], shape))


def plan_mark(shape: str) -> str:
    """A plan's name: the same for the same shape, anywhere. A name is its own."""
    return shape if _MARK.fullmatch(shape) else "p" + hashlib.sha256(shape.encode()).hexdigest()[:5]


def statement_mark(mark: str) -> str:
    """As much of a statement's name as a file holds."""
    return mark[:7]


def drawn_mark(operations: Iterable[Operation]) -> str:
    """A mark of requests by method, path and body, in their order; of headers none, which may hold secrets."""
    digest = hashlib.sha256()
    for one in operations:
        digest.update(f"{one.method} {one.path} {len(one.body)}\n".encode() + one.body)
    return digest.hexdigest()[:8]


class CountedCommand(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One command of Redis by its name. `sent` are bytes of its arguments, `answered` of what came back."""

    calls: int
    keys: int = 0
    sent: int = 0
    answered: int = 0


class CountedPass(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """All requests of a kind, asked once. `bytes` are those of their answers, unpacked; None where they may differ.

    `wal` and `wal_bytes` are what was written (postgres.wal_work).
    """

    bytes: int | None = None
    statements: dict[str, CountedStatement] = {}
    redis: dict[str, CountedCommand] = {}
    wal: dict[str, int] = {}
    wal_bytes: int = 0

    @property
    def calls(self) -> int:
        """Statements that the service sent."""
        return sum(one.calls for one in self.statements.values() if not one.inner)

    @property
    def seldom(self) -> int:
        """Statements that a few of the requests sent, in all."""
        return sum(one.seldom for one in self.statements.values())

    @property
    def blocks(self) -> int:
        """Shared blocks of them."""
        return sum(one.blocks for one in self.statements.values() if not one.inner)


class CountedKind(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A kind of request. Of one that reads, sums over `requests`: with the cache emptied, and asked `again`.

    Of one that `writes` a typical request, the median of so many by each counter: where a page splits is chance.
    `again` None: the same as first. `drawn` is a mark of the requests (drawn_mark): other ones do other work.
    """

    requests: int
    first: CountedPass
    writes: bool = False
    again: CountedPass | None = None
    drawn: str = ""

    @property
    def counted(self) -> int:
        """Of how many requests the numbers are."""
        return 1 if self.writes else self.requests


class Counted(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A whole count, with what must be the same for it to come out the same: arm, rows, seed, PostgreSQL's version.

    `tables` are rows by table before the first request, `asked` how many requests of a kind were wanted,
    `only` of which kinds, where not of all.
    `background` is what was told apart as the service's own. `to_vacuum` are pages by table that the migration left to
    a VACUUM, which came before the count; None where nobody looked.
    """

    system: str
    arm: str
    size: int
    seed: int
    asked: int
    postgres: int
    tables: dict[str, int]
    kinds: dict[str, CountedKind]
    only: list[str] = []
    reason: str = ""
    background: list[str] = []
    to_vacuum: dict[str, int] | None = None

    @property
    def of_first_format(self) -> bool:
        """Whether it was read from a file of format 1: that knew of no statement that only a few requests send, and
        measured what Redis is sent otherwise.
        """
        return self.to_vacuum is None
