"""The check over a recorded history: was anything older read than had been acknowledged?"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

from archzero_lab.systems.histories import Read, Write

NINES_MS = (0, 10, 100, 1_000, 10_000)


@dataclass(frozen=True, slots=True)
class Violation:
    """What must not be: a version older than acknowledged (stale) or seen before (back), or newer than written."""

    kind: str
    read: Read
    expected: int


@dataclass
class Verdict:
    """The outcome of a check. `late_ms` are, of every stale read, how long after the acknowledgement it began."""

    reads: int
    writes: int
    violations: list[Violation] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)

    def nines(self) -> dict[int, float]:
        """For each window in ms: the share of reads that were not staler than it."""
        stale = sorted(self.late_ms)
        return {
            window: 1 - (len(stale) - bisect_right(stale, window)) / self.reads if self.reads else 1.0
            for window in NINES_MS
        }


def check(writes: Iterable[Write], reads: Iterable[Read], *, strict: bool = True) -> Verdict:
    """Check each key's history apart: a read must give at least the highest version acknowledged before it began.

    And at most the highest whose write had been asked for before it ended, those that were refused and perhaps made
    included; and no session goes back. With `strict`
    off (a near cache is allowed to lag) staleness is measured and only unwritten versions are violations.
    """
    by_key: dict[str, list[Write]] = defaultdict(list)
    refused: dict[str, list[int]] = defaultdict(list)
    for write in writes:
        if write.refused:
            refused[write.key].append(write.began_ns)
        else:
            by_key[write.key].append(write)
    for times in refused.values():
        times.sort()
    floors, ceilings = {}, {}
    for key, made in by_key.items():
        acknowledged = sorted(made, key=lambda w: w.ended_ns)
        begun = sorted(made, key=lambda w: w.began_ns)
        floors[key] = ([w.ended_ns for w in acknowledged], list(accumulate((w.version for w in acknowledged), max)))
        ceilings[key] = ([w.began_ns for w in begun], list(accumulate((w.version for w in begun), max)))
    verdict = Verdict(reads=0, writes=sum(len(made) for made in by_key.values()))
    seen: dict[tuple[str, str], int] = {}
    for read in sorted(reads, key=lambda r: r.began_ns):
        verdict.reads += 1
        times, versions = floors.get(read.key, ([], []))
        at = bisect_right(times, read.began_ns)
        floor = versions[at - 1] if at else 1
        if read.version < floor:
            newer = next(i for i in range(at) if versions[i] > read.version)
            verdict.late_ms.append((read.began_ns - times[newer]) / 1e6)
            if strict:
                verdict.violations.append(Violation("stale", read, floor))
        times, versions = ceilings.get(read.key, ([], []))
        at = bisect_right(times, read.ended_ns)
        ceiling = (versions[at - 1] if at else 1) + bisect_right(refused.get(read.key, []), read.ended_ns)
        if read.version > ceiling:
            verdict.violations.append(Violation("unwritten", read, ceiling))
        place = (read.session, read.key)
        before = seen.get(place, 0)
        excused = (
            any(
                write.external and read.version < write.version <= before and write.ended_ns > read.began_ns
                for write in by_key.get(read.key, ())
            )
            if read.version < before
            else False
        )
        if strict and read.version < before and not excused:
            verdict.violations.append(Violation("back", read, seen[place]))
        seen[place] = max(seen.get(place, 0), read.version)
    return verdict
