"""Two counts held against each other: what is more, less or otherwise, by request, statement and counter."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from archzero_lab.jobs.work.baseline import Tolerance
from archzero_lab.jobs.work.conditions import moved_tables, other_values, tables_read
from archzero_lab.jobs.work.counted import (
    Counted,
    CountedCommand,
    CountedKind,
    CountedPass,
    CountedStatement,
)
from archzero_lab.jobs.work.turned_plans import told_plans

Result = Literal["more", "less", "otherwise"]
_AGAIN = ", asked again"
_SAME_STATEMENT = 0.6
_PHYSICAL = ("blocks", "temporary")
_COUNTERS = ("calls", "rows", "blocks", "temporary", "seldom")
_ALLOWED = {"seldom": "calls"}
_NAMES = {
    "temporary": "temporary blocks a request", "wal_bytes": "bytes written a request",
    "seldom": "calls in all, of a few requests",
}  # fmt: skip
_MUCH = 1.5
"""A migration that stays leaves more pages to a VACUUM as its tables grow."""
_WORST_FIRST: tuple[Result, ...] = ("more", "otherwise", "less")


@dataclass(frozen=True)
class Difference:
    """One finding: where, what of it, in words. "otherwise" is neither more nor less: another plan, other values."""

    where: str
    what: str
    result: Result
    said: str

    @property
    def kind(self) -> str:
        """The kind of request."""
        return self.where.removesuffix(_AGAIN)


def differences(before: Counted, after: Counted, tolerance: Tolerance) -> list[Difference]:
    """What of `before`'s kinds of request is otherwise after. Of another PostgreSQL no block and no record counts.

    Of tables with other rows, or of other values, more of anything but calls is nobody's fault yet: for a person.
    """
    alike = before.postgres == after.postgres
    moved = moved_tables(before, after)
    changed: list[Difference] = []
    for name, kind in before.kinds.items():
        other = after.kinds.get(name)
        if other is None:
            changed.append(Difference(name, "request", "otherwise", "is not asked any more"))
            continue
        if (kind.requests, kind.writes) != (other.requests, other.writes):
            said = f"{kind.requests} requests, then {other.requests}: its values are others"
            changed += [Difference(name, "requests", "otherwise", said), *_calls_of_each(name, kind, other)]
            continue
        over = _Ratio(
            kind.counted,
            tolerance,
            alike,
            not (other_values(kind, other) or moved & tables_read(other)),
            first_format=before.of_first_format,
        )
        changed += _of_pass(name, kind.first, other.first, over)
        if kind.again is not None or other.again is not None:
            changed += _of_pass(name + _AGAIN, kind.again or kind.first, other.again or other.first, over)
    for name in after.kinds:
        if name not in before.kinds:
            changed.append(Difference(name, "request", "otherwise", "is new: nothing is known of it before"))
    return [*changed, *_to_vacuum(before, after)]


def _to_vacuum(before: Counted, after: Counted) -> Iterator[Difference]:
    """Index-only scans of tables that a migration has written: the count is of vacuumed tables, a deploy has none."""
    if before.to_vacuum is None or after.to_vacuum is None:
        return
    known = before.to_vacuum
    left = {table: pages for table, pages in after.to_vacuum.items() if pages > _MUCH * known.get(table, 0)}
    for name, kind in after.kinds.items():
        for table in sorted(tables_read(kind, index_only=True) & left.keys()):
            said = (
                f"{left[table]:,} pages of {table} are written by the migration: its index-only scan reads them, too,"
                " until a VACUUM"
            )
            yield Difference(name, "VACUUM", "otherwise", said)


def _calls_of_each(name: str, before: CountedKind, after: CountedKind) -> Iterator[Difference]:
    """Of other numbers of requests what can be compared all the same: how often each request sends a statement."""
    ones, others = before.first.statements, after.first.statements
    for mark, statement in others.items():
        was = ones[mark].calls / before.counted if mark in ones else 0.0
        now = statement.calls / after.counted
        if now > was + 0.5 and not statement.inner:
            yield Difference(name, statement.sql, "more", f"{was:,.3g} → {now:,.3g} calls a request")
    was, now = (_all(kind.first.redis.values()) / kind.counted for kind in (before, after))
    if now > was + 0.5:
        yield Difference(name, "Redis", "more", f"{was:,.3g} → {now:,.3g} commands a request")


def _of_pass(where: str, before: CountedPass, after: CountedPass, over: _Ratio) -> Iterator[Difference]:
    if over.first_format:  # which knew of no statement that a few requests send
        after = msgspec.structs.replace(
            after, statements={mark: one for mark, one in after.statements.items() if one.calls or not one.seldom}
        )
    # one statement in the place of many is more of itself: where no total grew, that is no regression
    less = (
        after.calls <= before.calls
        and after.seldom <= before.seldom
        and (after.blocks <= before.blocks or not over.alike)
    )
    for one, other, same in _paired(before.statements, after.statements):
        changed = _statement(where, one, other, same, over)
        if changed is not None:
            yield changed if same or not less else _no_regression(changed)
    fewer = _all(after.redis.values()) <= _all(before.redis.values())
    for name in sorted({*before.redis, *after.redis}):
        changed = _command(where, name, before.redis.get(name), after.redis.get(name), over)
        if changed is not None:
            yield changed if name in before.redis or not fewer else _no_regression(changed)
    if over.alike:
        yield from _written(where, before, after, over)
    if before.bytes is not None and after.bytes is not None:
        said, result = over.held("bytes", before.bytes, after.bytes)
        if said:
            yield Difference(where, "bytes answered", result, said)


def _no_regression(difference: Difference) -> Difference:
    return replace(difference, result="otherwise") if difference.result == "more" else difference


def _all(commands: Iterable[CountedCommand]) -> int:
    return sum(command.calls for command in commands)


class _Ratio:
    """Numbers of a kind of request, told as those of one request.

    `alike`: counted on one version of PostgreSQL; `same_rows`: of the same rows, asked for with the same values;
    `first_format`: the file that is compared with is of that.
    """

    def __init__(
        self, requests: int, tolerance: Tolerance, alike: bool, same_rows: bool, *, first_format: bool
    ) -> None:
        self.first_format = first_format
        self._requests = requests
        self._tolerance = tolerance
        self.alike = alike
        self._same_rows = same_rows

    def held(self, counter: str, before: int, after: int, allowed: str = "") -> tuple[str, Result]:
        """("", …) where it is what it was; else before and after in words, and whether it is more."""
        if before == after or (self.first_format and counter in ("sent", "answered")):  # its lengths were others
            return "", "otherwise"
        more = after > before * (1 + getattr(self._tolerance, allowed or counter))
        if after > before and not more:
            return "", "otherwise"
        said = f"{self._one(before)} → {self._one(after)} {_NAMES.get(counter, f'{counter} a request')}"
        if after < before:
            return said, "less"
        return said, "more" if self._same_rows or counter in ("calls", "seldom") else "otherwise"

    def _one(self, number: int) -> str:
        value = number / self._requests
        return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.3g}"


_Pair = tuple[CountedStatement | None, CountedStatement | None, bool]


def _paired(before: Mapping[str, CountedStatement], after: Mapping[str, CountedStatement]) -> list[_Pair]:
    """Statements by their mark; of those that are only on one side the two most alike are one that was changed.

    Each pair with whether it is the same statement.
    """
    pairs: list[_Pair] = [(before[mark], after[mark], True) for mark in before if mark in after]
    gone = [one for mark, one in before.items() if mark not in after]
    new = [one for mark, one in after.items() if mark not in before]
    scored = sorted(
        (
            (difflib.SequenceMatcher(None, one.sql, other.sql, autojunk=False).ratio(), at, to)
            for at, one in enumerate(gone)
            for to, other in enumerate(new)
            if one.inner == other.inner
        ),
        reverse=True,
    )
    left, right = set(range(len(gone))), set(range(len(new)))
    for score, at, to in scored:
        if score >= _SAME_STATEMENT and at in left and to in right:
            left.remove(at)
            right.remove(to)
            pairs.append((gone[at], new[to], False))
    pairs += [(gone[at], None, False) for at in sorted(left)]
    return pairs + [(None, new[to], False) for to in sorted(right)]


def _statement(
    where: str, one: CountedStatement | None, other: CountedStatement | None, same: bool, over: _Ratio
) -> Difference | None:
    none = CountedStatement("", 0)
    was, now = one or none, other or none
    inner = "inside another: " if was.inner or now.inner else ""
    parts, results, turned = [], set(), []
    for counter in _COUNTERS:
        if counter in _PHYSICAL and not over.alike:
            continue
        if counter == "seldom" and was.calls > now.calls:  # most requests sent it, now a few do
            continue
        said, result = over.held(counter, getattr(was, counter), getattr(now, counter), _ALLOWED.get(counter, ""))
        if said:
            parts.append(said)
            if counter != "rows":  # fewer or more rows are what was asked for; what they cost is counted
                results.add(result)
    if one is None:
        parts.insert(0, "is new")
    elif other is None:
        parts.insert(0, "is gone")
    else:
        turned = told_plans(was, now)
        parts = [*turned, *parts]
        if not same:
            parts.append(f"was {was.sql}")
    if not parts:
        return None
    worst: Result = "more" if "more" in results else "less" if results == {"less"} else "otherwise"
    if worst == "less" and (turned or not same) and one is not None and other is not None:
        worst = "otherwise"  # fewer blocks of a small copy say little of another plan, or of another statement
    return Difference(where, inner + (now.sql or was.sql), worst, "; ".join(parts))


def _command(
    where: str, name: str, one: CountedCommand | None, other: CountedCommand | None, over: _Ratio
) -> Difference | None:
    was, now = one or CountedCommand(0), other or CountedCommand(0)
    parts, results = [], set()
    for counter, words in (("calls", "calls"), ("keys", "keys"), ("sent", "bytes sent"), ("answered", "bytes back")):
        said, result = over.held(counter, getattr(was, counter), getattr(now, counter))
        if said:
            parts.append(said.replace(f" {counter} ", f" {words} "))
            results.add(result)
    if not parts:
        return None
    return Difference(where, f"Redis {name}", _worst(results), "; ".join(parts))


def _worst(results: Collection[Result]) -> Result:
    return next((one for one in _WORST_FIRST if one in results), "otherwise")


def _written(where: str, before: CountedPass, after: CountedPass, over: _Ratio) -> Iterator[Difference]:
    parts, results = [], set()
    for kind in sorted({*before.wal, *after.wal}):
        said, result = over.held(_IN_WORDS.get(kind, kind), before.wal.get(kind, 0), after.wal.get(kind, 0), "wal")
        if said:
            parts.append(said)
            results.add(result)
    said, result = over.held("wal_bytes", before.wal_bytes, after.wal_bytes)
    if said:
        parts.append(said)
        results.add(result)
    if parts:
        yield Difference(where, "write-ahead log", _worst(results), "; ".join(parts))


_IN_WORDS = {
    "Btree/entry": "index entries (B-tree)", "Heap/INSERT": "rows inserted", "Heap/DELETE": "rows deleted",
    "Heap/UPDATE": "updates with index entries", "Heap/HOT_UPDATE": "HOT updates", "Heap/LOCK": "rows locked",
}  # fmt: skip
