"""The check over what was done while a database changed hands: lost, doubled, stale, back, phantom; and for how long
nothing could be written or read."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from archzero_lab.systems.failovers import Operations, Reading, Writing

Lineage = Sequence[tuple[str, int, str]]


@dataclass
class FailoverVerdict:
    """What was found. `lost`: acknowledged and in no surviving history; `doubled`: marks that were written twice."""

    reads: int
    writes: int
    lost: list[Writing] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stale: list[Reading] = field(default_factory=list)
    """Older than acknowledged before the read began, through the cache."""
    own: list[Reading] = field(default_factory=list)
    """Older than what the same session had written."""
    back: list[Reading] = field(default_factory=list)
    """Older than what the same session had read."""
    phantoms: list[Reading] = field(default_factory=list)
    """What a failover has erased, read once the new primary's first write was acknowledged."""

    @property
    def holds(self) -> bool:
        """Whether nothing was found but writes that an asynchronous failover may lose."""
        return not (self.doubled or self.stale or self.own or self.back or self.phantoms)

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {name: len(getattr(self, name)) for name in ("lost", "doubled", "stale", "own", "back", "phantoms")}


def check_failovers(
    done: Operations, lineage: Lineage, promoted_ns: Sequence[int], left_behind: Mapping[str, int] | None = None
) -> FailoverVerdict:
    """Hold what was acknowledged and read against the history that survived.

    `promoted_ns`: when another took over. `left_behind`: marks that the old one had then, or took afterwards, and the
    new one has not, with that time; what a dead one had is known by when it was written.
    """
    marks = {mark for _, _, mark in lineage}
    acknowledged = [write for write in done.writes if write.version]
    verdict = FailoverVerdict(len(done.reads), len(acknowledged))
    verdict.lost = [write for write in acknowledged if write.mark not in marks]
    verdict.doubled = [mark for mark, times in Counter(mark for _, _, mark in lineage).items() if times > 1]
    floors = _floors([write for write in acknowledged if write.mark in marks])
    void_from = _void_from(done.writes, marks, promoted_ns, left_behind or {})
    seen: dict[tuple[str, str], int] = {}
    for read in sorted(done.reads, key=lambda one: one.began_ns):
        if read.began_ns > void_from.get(read.mark, read.began_ns):
            verdict.phantoms.append(read)
        times, versions = floors.get(read.key, ([], []))
        at = bisect_right(times, read.began_ns)
        if read.through in ("cached", "list") and at and read.version < versions[at - 1]:
            verdict.stale.append(read)
        if read.version < read.least and read.after in marks:
            verdict.own.append(read)
        place = (read.session, read.key)
        if read.version < seen.get(place, 0):
            verdict.back.append(read)
        if not read.mark or read.mark in marks:
            seen[place] = max(seen.get(place, 0), read.version)
    return verdict


def _void_from(
    writes: Sequence[Writing], marks: set[str], promoted_ns: Sequence[int], left_behind: Mapping[str, int]
) -> dict[str, int]:
    """Of each mark that is in no history any more: from when on nobody may read it.

    That is when the first write was acknowledged that was asked for after the promotion that erased it.
    """
    settled = {at: _first_written(writes, at) for at in promoted_ns}
    void = {}
    for write in writes:
        if write.mark in marks:
            continue
        at = left_behind.get(write.mark) or next((at for at in promoted_ns if write.began_ns < at), None)
        since = settled.get(at) if at is not None else None
        if since is not None:
            void[write.mark] = since
    return void


def _floors(writes: Sequence[Writing]) -> dict[str, tuple[list[int], list[int]]]:
    by_key: dict[str, list[Writing]] = defaultdict(list)
    for write in writes:
        by_key[write.key].append(write)
    floors = {}
    for key, made in by_key.items():
        made.sort(key=lambda write: write.ended_ns)
        floors[key] = ([w.ended_ns for w in made], list(accumulate((w.version for w in made), max)))
    return floors


def _first_written(writes: Sequence[Writing], at_ns: int) -> int | None:
    """When the first write that was asked for after this was acknowledged."""
    return min((write.ended_ns for write in writes if write.version and write.began_ns > at_ns), default=None)


def longest_gaps_s(ended_ns: Sequence[int], faults_ns: Sequence[int], over_ns: int) -> list[float]:
    """For each fault, the longest time in which nothing ended, from just before it until the next, or the end."""
    ends = sorted([*(at for at in ended_ns if at <= over_ns), over_ns])
    gaps = []
    for number, fault in enumerate(faults_ns):
        until = faults_ns[number + 1] if number + 1 < len(faults_ns) else over_ns
        first, last = max(bisect_left(ends, fault) - 1, 0), bisect_right(ends, until)
        spans = [
            min(after, until) - before
            for before, after in zip(ends[first:last], ends[first + 1 : last + 1], strict=False)
        ]
        gaps.append(max(spans, default=0) / 1e9)
    return gaps
